"""Runs the property and model tests for any length of time, with new examples each time."""
