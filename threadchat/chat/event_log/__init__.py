"""The event log: every event as a line of JSON in a file, its rotation, and what deletion removes from it.

May import `chat/log`. Runs on: a listener's thread; redaction on the caller's.
"""
