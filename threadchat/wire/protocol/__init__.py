"""The wing wire/protocol."""
