"""A soak test: simulated people use a real server for minutes, and all that they receive is checked."""
