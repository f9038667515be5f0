"""The wing config."""
