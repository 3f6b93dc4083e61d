"""Sans-I/O cores of the gateway."""
