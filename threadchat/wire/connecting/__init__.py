"""How a client connects: URLs, the race between a host's addresses, the opening handshake, cancellation.

May import `wire` and what is below it. Runs on: the thread that connects.
"""
