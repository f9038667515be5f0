"""Where rooms' logs live: in memory, so far."""
