"""The shared kernel: what edge agent, gateway and central agree on. Pure: no I/O, no clock."""
