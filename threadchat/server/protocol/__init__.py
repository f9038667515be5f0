"""What the dialects of the chat say: commands and replies as types, events as encoded frames. No I/O.

May import `chat`, `wire` and what is below them. Runs on: any thread.
"""
