"""The wing server/session."""
