"""Runs the properties and models of the tests for as long as one likes, with other examples each time."""
