"""The peer `websockets.sync`: a thread a connection; a broadcast is a loop of `send` over a copied set."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from contextlib import suppress
from itertools import count
from threading import Lock

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

PORT, PING_INTERVAL = int(sys.argv[1]), float(sys.argv[2])  # the interval in seconds

lock = Lock()  # guards what is below
rooms: defaultdict[str, set[ServerConnection]] = defaultdict(set)
people: dict[int, ServerConnection] = {}
ids = count(1)


def send_to_all(room: str, message: str | bytes) -> None:
    with lock:
        members = rooms[room].copy()
    for member in members:
        with suppress(ConnectionClosed):
            member.send(message)


def broadcast(connection: ServerConnection, room: str) -> None:
    with lock:
        rooms[room].add(connection)
    try:
        for message in connection:
            send_to_all(room, message)
    finally:
        with lock:
            rooms[room].discard(connection)


def direct(connection: ServerConnection) -> None:
    with lock:
        me = next(ids)
        people[me] = connection
    try:
        connection.send(json.dumps({"id": me}))
        for text in connection:
            request = json.loads(text)
            with lock:
                recipient = people.get(request["to"])
            if recipient is None:
                connection.send(json.dumps({"error": "not online"}))
            else:
                recipient.send(json.dumps({"from": me, "message": request["message"]}))
    finally:
        with lock:
            del people[me]


def handle(connection: ServerConnection) -> None:
    path = connection.request.path if connection.request else "/"
    with suppress(ConnectionClosed):
        if path == "/":
            direct(connection)
        else:
            broadcast(connection, path)


def main() -> None:
    with serve(
        handle, "127.0.0.1", PORT, compression=None, ping_interval=PING_INTERVAL, ping_timeout=60
    ) as server:
        server.serve_forever()


main()
