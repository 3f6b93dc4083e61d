"""Device drivers. Each talks to one family and knows no sibling."""
