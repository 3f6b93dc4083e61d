"""Benchmarks: each measures this machine and a peer in the same run, and states ratios."""
