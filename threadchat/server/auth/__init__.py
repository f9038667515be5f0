"""The wing server/auth."""
