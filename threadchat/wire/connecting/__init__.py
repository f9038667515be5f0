"""The wing wire/connecting."""
