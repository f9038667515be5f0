"""Breaks a cluster at random while people talk, and checks that the chat keeps its promises meanwhile."""
