"""Pure rules of central: flows, clocks, cases, permissions."""
