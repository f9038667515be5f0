"""Which Redis servers there are, and which of them a command goes to.

What is above this folder knows only `Topology`. Runs on: the callers' threads.
"""
