"""Long-running work over ports; knows no adapter and no sibling."""
