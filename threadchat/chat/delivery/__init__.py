"""How a room's events reach those who listen: fan-out, subscriptions, producers for who is behind, streams.

May import `chat.log`, `wire.threads` and what is below them.
Runs on: publishers' threads, and one `producer-N` thread a connection while it is behind anywhere.
"""
