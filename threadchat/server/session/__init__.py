"""One person's connection: the dialects, commands, memberships of rooms, rate limits, moderation.

May import `server.auth`, `server.budgets` and what is below it.
Runs on: the connection's reader thread, unless a method says otherwise.
"""
