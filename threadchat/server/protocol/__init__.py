"""The messages of the chat's dialects: commands and replies as types, events as encoded frames. No I/O.

May import `chat`, `wire` and what is below them. Runs on: any thread.
"""
