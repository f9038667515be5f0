"""A client's way to a connection: addresses, racing them, the opening handshake, giving up.

May import `wire` and what is below it. Runs on: the thread that connects.
"""
