"""The event log: a listener that writes every event to files, and the removal of deleted texts from them.

May import `chat/log`. Runs on: a listener's thread; redaction on the caller's.
"""
