"""The streams while they run: buffers, sessions, key frames for those who look at pictures."""
