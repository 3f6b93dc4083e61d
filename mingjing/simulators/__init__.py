"""Simulated devices, each a process of its own that speaks the real protocol."""
