"""The wing logs."""
