"""Sans-I/O cores of the agent: protocols as state machines, policies as functions."""
