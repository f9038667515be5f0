"""The peer picows, a C extension on asyncio: a broadcast is a loop of `send`, which buffers, never blocks."""

# mypy: allow-subclassing-any
from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from itertools import count

from picows import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
    WSAutoPingStrategy,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_create_server,
)

PORT, PING_INTERVAL = int(sys.argv[1]), float(sys.argv[2])  # the interval in seconds

rooms: defaultdict[str, set[WSTransport]] = defaultdict(set)
people: dict[int, WSTransport] = {}
ids = count(1)


def send_json(transport: WSTransport, value: dict[str, object]) -> None:
    transport.send(WSMsgType.TEXT, json.dumps(value).encode())


class Room(WSListener):
    """Whatever is received goes to everybody in the room."""

    def __init__(self, name: str) -> None:
        self.members = rooms[name]

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.members.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.members.discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif frame.msg_type == WSMsgType.TEXT:
            message = frame.get_payload_as_bytes()
            for member in self.members:
                member.send(WSMsgType.TEXT, message)


class Direct(WSListener):
    """Messages from person to person."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.me = next(ids)
        people[self.me] = transport
        send_json(transport, {"id": self.me})

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        del people[self.me]

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif frame.msg_type == WSMsgType.TEXT:
            request = json.loads(frame.get_payload_as_bytes())
            recipient = people.get(request["to"])
            if recipient is None:
                send_json(transport, {"error": "not online"})
            else:
                send_json(recipient, {"from": self.me, "message": request["message"]})


def listener(request: WSUpgradeRequest) -> WSListener:
    path = request.path.decode()
    return Direct() if path == "/" else Room(path)


async def main() -> None:
    server = await ws_create_server(
        listener,
        "127.0.0.1",
        PORT,
        enable_auto_ping=True,
        auto_ping_idle_timeout=PING_INTERVAL,
        auto_ping_reply_timeout=PING_INTERVAL,  # picows wants no more than the interval
        auto_ping_strategy=WSAutoPingStrategy.PING_PERIODICALLY,
    )
    await server.serve_forever()


asyncio.run(main())
