"""Looks at a server from outside while something is done to it: its process, and two people who talk."""
