"""Events as they are stored in Redis: JSON without the id and the time, which Redis assigns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from threadchat.chat.log import events
from threadchat.chat.log.events import Draft, Record, record

_HEAD: Final = len(b'{"id":1')
_TAIL: Final = len(b',"unixTime":0}')


class RoomMessage(NamedTuple):
    """One message of a room's channel: consecutive events.

    All of them have the same stamp. `before` is the stamp of the event before the first.
    """

    epoch: str
    first: int
    stamp: str
    before: str
    records: list[Record]


def body_of(draft: Draft, room: str) -> bytes:
    """A draft's JSON without what Redis adds. Contains no line break."""
    return record(draft, 1, room, 0).json[_HEAD:-_TAIL]


def body_in(item: Record) -> bytes:
    """The body of an event."""
    return item.json[len(b'{"id":%d' % item.event.id) : -len(b',"unixTime":%d}' % item.event.time)]


def record_of(offset: int, ms: int, body: bytes) -> Record:
    """The event with that body. `ms` is Redis's time in milliseconds."""
    return events.record_of(b'{"id":%d%b,"unixTime":%d}' % (offset, body, ms // 1000))


def read_message(payload: bytes) -> RoomMessage:
    """Reads what room.lua publishes: a heading (epoch, first offset, stamps), then one line for each body."""
    heading, *bodies = payload.split(b"\n")
    epoch, number, stamp, before = heading.decode().split(" ")
    first, ms = int(number), ms_of(stamp)
    records = [record_of(first + i, ms, body) for i, body in enumerate(bodies)]
    return RoomMessage(epoch, first, stamp, before, records)


def entries(found: Iterable[Sequence[Any]]) -> list[Record]:
    """Reads entries of a room's stream. The id of an entry is its offset and stamp."""
    records = []
    for entry_id, body in found:
        offset, stamp = entry_id.split(b"-")
        records.append(record_of(int(offset), ms_of(stamp), body))
    return records


def ms_of(stamp: str | bytes) -> int:
    """The time in milliseconds at the start of a stamp."""
    return int(stamp[:13])
