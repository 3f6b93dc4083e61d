"""Inference models: a manifest of what to fetch, and typed pure pre- and post-processing."""
