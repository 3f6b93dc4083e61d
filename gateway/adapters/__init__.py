"""The gateway's ways to the world, one per port."""
