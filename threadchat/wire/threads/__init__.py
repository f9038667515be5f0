"""Helpers for threads: start on first use, forks, sequence numbers, periodic work, deferred logs.

May import only its own modules. Runs on: any thread.
"""
