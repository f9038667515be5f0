"""The WebSocket protocol as bytes: frames, requests, compression, and simple-websocket's state machine.

Uses no socket and starts no thread. May import `errors`.
Runs on: any thread of a connection that encodes or parses.
"""
