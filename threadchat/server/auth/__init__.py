"""Who somebody is, and what they may do: hooks, tokens, permissions, names, resuming, bans.

May import `server.protocol`, `server.http` and what is below them.
Runs on: the thread of the handshake's request, then the connection's reader.
"""
