"""Everything that crosses a process boundary. Frozen, versioned, read with tolerance."""
