"""The chat server: `Chat`, the ways into it, the registry of connections, and its end.

The wings below it, from the ground up: `http` reads requests and hands sockets over; `protocol` is what the
dialects say, as types; `auth` knows who somebody is and what they may do; `session` is one person's
connection; `admin` is what operators see. A wing imports from those before it only.
"""
