"""Where rooms' logs live: in memory, in a SQLite file, or in a Redis that many nodes share.

May import `chat` and what is below it; `broker.sqlite` and `broker.redis` do not know each other.
Runs on: the threads that call, one writer thread (SQLite);
a subscriber, a heartbeat and a few workers (Redis).
"""
