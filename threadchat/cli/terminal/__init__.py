"""The terminal client: an interactive chat, lines from a pipe into a room, events of a room into a pipe."""
