"""Media value types and the pure codecs that more than one program needs."""
