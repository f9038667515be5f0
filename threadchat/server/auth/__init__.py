"""Who somebody is, and what they may do: hooks, tokens, permissions, names, resume tokens, bans.

May import `server.protocol`, `server.http` and what is below them.
Runs on: the thread that handles the handshake, then the connection's reader.
"""
