"""The peer `websockets` on asyncio: a task a connection, and the library's own `broadcast`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from contextlib import suppress
from itertools import count

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

PORT, PING_INTERVAL = int(sys.argv[1]), float(sys.argv[2])  # the interval in seconds

rooms: defaultdict[str, set[ServerConnection]] = defaultdict(set)
people: dict[int, ServerConnection] = {}
ids = count(1)


async def room(connection: ServerConnection, name: str) -> None:
    rooms[name].add(connection)
    try:
        async for message in connection:
            broadcast(rooms[name], message)
    finally:
        rooms[name].discard(connection)


async def direct(connection: ServerConnection) -> None:
    me = next(ids)
    people[me] = connection
    try:
        await connection.send(json.dumps({"id": me}))
        async for text in connection:
            request = json.loads(text)
            recipient = people.get(request["to"])
            if recipient is None:
                await connection.send(json.dumps({"error": "not online"}))
            else:
                await recipient.send(json.dumps({"from": me, "message": request["message"]}))
    finally:
        del people[me]


async def handle(connection: ServerConnection) -> None:
    path = connection.request.path if connection.request else "/"
    with suppress(ConnectionClosed):
        await (direct(connection) if path == "/" else room(connection, path))


async def main() -> None:
    async with serve(
        handle, "127.0.0.1", PORT, compression=None, ping_interval=PING_INTERVAL, ping_timeout=60
    ) as server:
        await server.serve_forever()


asyncio.run(main())
