"""Rooms, people and what they say. Knows nothing of sockets: it feeds whatever can be offered to."""
