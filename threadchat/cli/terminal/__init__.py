"""The terminal client: a chat to type into, lines from a pipe into a room, events of a room into a pipe."""
