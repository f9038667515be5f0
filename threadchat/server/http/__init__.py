"""The wing server/http."""
