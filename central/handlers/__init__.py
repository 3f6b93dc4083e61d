"""Use cases: one function per command or question."""
