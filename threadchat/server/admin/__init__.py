"""The wing server/admin."""
