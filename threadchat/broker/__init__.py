"""Keeps the logs of rooms: in memory, in a SQLite file, or in a Redis server that many nodes share.

May import `chat` and what is below it. `broker.sqlite` and `broker.redis` do not import each other.
Runs on: the callers' threads. SQLite adds one writer thread; Redis adds a subscriber, a heartbeat and a few
workers.
"""
