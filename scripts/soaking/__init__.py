"""A soak: people come, talk, stall, break things and go, for minutes, and all that they see is checked."""
