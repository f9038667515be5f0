"""The wing cli."""
