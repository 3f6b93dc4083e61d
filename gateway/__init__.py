"""Program 2: one site. Records, detects, decides, links and serves."""
