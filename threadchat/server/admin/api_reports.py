"""The HTTP API's reports for operators: this node, its totals, and its connections."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from threadchat.errors import CloseCode, CommandError, ErrorCode
from threadchat.server.admin.administered import AdministeredChat
from threadchat.server.admin.api_schema import Call, Fields
from threadchat.server.admin.node_report import totals_of
from threadchat.server.admin.snapshot import ORDERS, Snapshot
from threadchat.version import __version__

MAX_LISTED: Final = 10_000
"""Connections in one answer."""


class Info(Call, frozen=True):
    """This node, and its totals."""

    def answer(self, chat: AdministeredChat) -> Fields:
        seen = chat.inspector.look()
        return {**_node(chat, seen), "rooms": seen.rooms, "connections": seen.connections, **totals_of(seen)}


class Connections(Call, frozen=True):
    """Up to `limit` connections of this node."""

    limit: Annotated[int, Meta(ge=1, le=MAX_LISTED)] = 100
    sort: str = "slowest"

    def answer(self, chat: AdministeredChat) -> Fields:
        if self.sort not in ORDERS:
            reason = f"sort is {self.sort!r:.40}; it must be one of {', '.join(ORDERS)}"
            raise CommandError(ErrorCode.BAD_REQUEST, reason)
        return {"connections": chat.inspector.list_connections(self.limit, self.sort)}


class Ops(Call, frozen=True):
    """All data of the page `/ops`: of this node in full, and the totals of all nodes.

    `logged` has the number of the last line of the log that the page knows of each process. With `history`,
    the answer includes the last hour, and what codes mean.
    """

    history: bool = False
    logged: dict[str, int] = msgspec.field(default_factory=dict)

    def answer(self, chat: AdministeredChat) -> Fields:
        seen, monitor = chat.inspector.look(), chat.monitor
        monitor.start()  # a mounted chat may not be in use yet
        past = {"history": monitor.samples(), "reasons": _REASONS} if self.history else {}
        return {
            **past,
            "process": monitor.process,
            "nodes": monitor.nodes(seen),
            "limits": monitor.limits.read(seen),
            "log": monitor.lines.read(self.logged.get(monitor.process, 0)),
            "memory": seen.memory,
            **_node(chat, seen),
            "time": seen.time,
            "cpu_seconds": seen.cpu_seconds,
            "rooms": seen.rooms,
            "connections": seen.connections,
            "totals": totals_of(seen),
            "states": seen.states,
            "threads": seen.threads,
            "queued_bytes": seen.queued_bytes,
            "outbox_messages": seen.depths.as_dict(),
            "outbox_age": seen.ages.as_dict(),
            "round_trip": {**seen.round_trips.as_dict(), "median": seen.median_trip, "p99": seen.high_trip},
            "unanswered": seen.unanswered,
            "closes": [
                {"code": code, "reason": CloseCode.describe(code), "count": count}
                for code, count in sorted(seen.totals.closes.items())
            ],
            "errors": [
                {"code": code, "reason": _REASONS[code], "count": count}
                for code, count in sorted(seen.totals.errors.items())
            ],
            "slowest": seen.slowest,
        }


_REASONS: Final = {int(code): code.reason for code in (*CloseCode, *ErrorCode)}


def _node(chat: AdministeredChat, seen: Snapshot) -> Fields:
    return {"version": __version__, "node": chat.inspector.node, "ready": seen.ready, "uptime": seen.uptime}
