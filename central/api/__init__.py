"""HTTP of central: what browsers call."""
