"""One WebSocket connection: its outbox, writer, reader, pinger and turnstile. It knows nothing about chat.

May import `errors`, `config`, `logs` and `wire.protocol`.
Runs on: the connection's reader and writer threads, and the one pinger thread of a process.
"""
