"""Observes a server from outside during a test: its process, and the delays of two people who talk."""
