"""Servers, clients and connections for threads, by the names of `websockets.sync`."""
