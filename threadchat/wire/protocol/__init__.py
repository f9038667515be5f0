"""The WebSocket protocol as bytes: frames, requests, compression, and simple-websocket's state machine.

Reads and writes no socket and starts no thread. May import `errors`.
Runs on: whichever thread of the connection encodes or parses.
"""
