"""Rooms, people and what they say. Knows nothing of sockets: it feeds whatever can be offered to.

Lock order, here and nowhere else; whoever holds one may acquire those behind it, never one before it:

1. the hub's (rooms by name)
2. a room's `_announcing` (a coming or going and its event are one step)
3. a channel's (a room's sequence: offsets are given and events handed on under it)
4. a room's own (who is in it)
5. its fan-out's, which is what "the room's lock" means (who listens, and the log's tail)
6. the leaves, of which nobody holds two: an outbox's, a stream's, the turnstile's, a step's, a producer's,
   and that of who is online

Bans and mutes have theirs apart from these: it is held while a lasting store writes, under none of them, and
none of them is acquired under it.
"""
