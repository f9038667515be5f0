"""The wing server/protocol."""
