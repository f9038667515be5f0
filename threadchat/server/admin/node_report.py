"""What a node reports about itself: to /ops, to the other nodes, and to the samples of the last hour."""

from __future__ import annotations

import msgspec

from threadchat.server.admin.snapshot import Snapshot


class NodeReport(msgspec.Struct, frozen=True, kw_only=True):
    """Counts and totals of one node. Times are in seconds, and totals count from the start of the process.

    `process` is a random id of the process, because a node keeps its name where it is restarted, and nodes
    with the memory broker have none. `age` is how long ago the report was made, as the reader knows it.
    """

    node: str
    process: str
    version: str
    uptime: float
    ready: bool
    connections: int
    rooms: int
    queued_bytes: int
    cpu_seconds: float
    memory: int | None
    unanswered: int
    round_trip: float | None
    totals: dict[str, int]
    closes: dict[str, int]
    errors: dict[str, int]
    age: float = 0.0


encode = msgspec.json.encode
_decode = msgspec.json.Decoder(NodeReport).decode


def decode(report: bytes) -> NodeReport | None:
    """A report of another node; None if its version reports something else."""
    try:
        return _decode(report)
    except msgspec.DecodeError:
        return None


def make_report(seen: Snapshot, *, node: str, process: str, version: str) -> NodeReport:
    """The report of this node."""
    return NodeReport(
        node=node,
        process=process,
        version=version,
        uptime=seen.uptime,
        ready=seen.ready,
        connections=seen.connections,
        rooms=seen.rooms,
        queued_bytes=seen.queued_bytes,
        cpu_seconds=seen.cpu_seconds,
        memory=seen.memory,
        unanswered=seen.unanswered,
        round_trip=seen.high_trip,
        totals=totals_of(seen),
        closes={str(code): count for code, count in sorted(seen.totals.closes.items())},
        errors={str(code): count for code, count in sorted(seen.totals.errors.items())},
    )


def totals_of(seen: Snapshot) -> dict[str, int]:
    """The totals that operators see, since the start of the process."""
    totals = seen.totals
    return {
        "connected": totals.connections,
        "events": totals.events,
        "deliveries": totals.messages_out,
        "messages_in": totals.messages_in,
        "bytes_in": totals.bytes_in,
        "bytes_out": totals.bytes_out,
        "fell_behind": totals.fell_behind,
        "pings_unanswered": totals.pings_unanswered,
    }
