"""How a room's events reach its subscribers: fan-out, subscriptions, producers for catching up, streams.

May import `chat.log`, `wire.threads` and what is below them.
Runs on: publishers' threads, the pinger's, which offers what they deferred, and one `producer-N` thread for
each connection that is behind in any room.
"""
