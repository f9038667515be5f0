"""What gunicorn is told for an application with a chat in it; every line but the first two may go.

gunicorn --chdir scripts/examples -c scripts/examples/gunicorn_conf.py flask_app:app
"""

from __future__ import annotations

import os

# WebSockets leave this pool: a few threads serve the requests beside any number of people in the chat.
worker_class = "gthread"
threads = 4

# One process, since the rooms are in its memory; with a broker that is shared (redis://...), any number.
workers = 1

bind = os.environ.get("BIND", "127.0.0.1:8000")

# A worker that is stopped or recycled answers its requests, then tells everybody in the chat to come back
# (3001), and waits for them to go: it needs the time for a request and the chat's drain_timeout (10 s).
graceful_timeout = 30

# Recycling is fine: clients reconnect to the next worker, and resume. Each WebSocket counts as one request.
max_requests = int(os.environ.get("MAX_REQUESTS", "10000"))
max_requests_jitter = max_requests // 10

# The application may be loaded before the fork: the chat's threads start with its first use, in the worker.
preload_app = True
