"""The peer flask-sock on Werkzeug's threaded server: a handler thread a connection, a loop of `send`."""

from __future__ import annotations

import json
import logging
import sys
from collections import defaultdict
from contextlib import suppress
from itertools import count
from threading import Lock

from flask import Flask  # type: ignore[import-untyped,import-not-found,unused-ignore]
from flask_sock import Sock  # type: ignore[import-untyped,import-not-found,unused-ignore]
from simple_websocket import ConnectionClosed, Server  # type: ignore[import-untyped,import-not-found,unused-ignore]
from werkzeug.serving import run_simple  # type: ignore[import-untyped,import-not-found,unused-ignore]

PORT, PING_INTERVAL = int(sys.argv[1]), float(sys.argv[2])  # the interval in seconds

app = Flask(__name__)
sock = Sock(app)

lock = Lock()  # guards what is below
rooms: defaultdict[str, set[Server]] = defaultdict(set)
people: dict[int, Server] = {}
ids = count(1)


def send_to_all(name: str, message: str) -> None:
    with lock:
        members = rooms[name].copy()
    for member in members:
        with suppress(ConnectionClosed, OSError):
            member.send(message)


def room(ws: Server, name: str = "") -> None:
    with lock:
        rooms[name].add(ws)
    try:
        while True:
            send_to_all(name, ws.receive())
    finally:
        with lock:
            rooms[name].discard(ws)


def direct(ws: Server) -> None:
    with lock:
        me = next(ids)
        people[me] = ws
    try:
        ws.send(json.dumps({"id": me}))
        while True:
            request = json.loads(ws.receive())
            with lock:
                recipient = people.get(request["to"])
            if recipient is None:
                ws.send(json.dumps({"error": "not online"}))
            else:
                recipient.send(json.dumps({"from": me, "message": request["message"]}))
    finally:
        with lock:
            del people[me]


sock.route("/ws", endpoint="everybody")(room)
sock.route("/rooms/<name>")(room)
sock.route("/")(direct)


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": PING_INTERVAL}
    run_simple("127.0.0.1", PORT, app, threaded=True)


main()
