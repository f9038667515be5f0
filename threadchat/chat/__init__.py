"""Rooms, their members and their events. Knows nothing about sockets: it feeds any object that is a `Sink`.

The lock order is defined here and nowhere else. A thread that holds a lock may acquire those after it in this
list, but never one before it:

1. the hub's (rooms by name)
2. a room's `_announcing` (it makes a change of membership and its event one step)
3. a channel's (offsets are assigned and events are handed on while it is held)
4. a room's own (its members)
5. the lock of its fan-out, which is what "the room's lock" means (its subscribers, and the tail of the log)
6. the leaves, of which a thread holds at most one: an outbox's, a stream's, the turnstile's, a step's,
   a producer's, and that of the user directory

The lock of bans and mutes is not part of this order. It is held while a broker writes to its store, it is
never acquired while one of the others is held, and none of the others is acquired while it is held.
"""
