"""Answers what a client of the native dialect may ask about rooms; changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from threadchat.chat.events import Position
from threadchat.chat.hub import Hub
from threadchat.chat.subscription import Filter
from threadchat.server import protocol
from threadchat.server.commands import Command, Count, History, Rooms, Who

Fields = dict[str, Any]


def answer(hub: Hub, command: Command) -> Fields:
    """What the reply carries. Raises CommandError; KeyError where `command` is no question."""
    return _ANSWERS[type(command)](hub, command)


def count(hub: Hub, command: Count) -> Fields:
    """How many of the log's events pass a filter."""
    protocol.check_types(command.types)
    return {"count": hub.find(command.room).count(Filter(command.types, command.users))}


def history(hub: Hub, command: History) -> Fields:
    """A page of the log; the events' JSON is there already."""
    since = None if command.since is None else Position(command.since.offset, command.since.epoch)
    page = hub.find(command.room).history(since, command.limit, command.reverse)
    events = [msgspec.Raw(record.json) for record in page.records]
    return {"events": events, **protocol.position_fields(page.head)}


def who(hub: Hub, command: Who) -> Fields:
    """The people in a room, each with a number of sessions."""
    users = []
    for occupant in hub.find(command.room).who():
        about = hub.about(occupant.user) or occupant.about
        entry = {"id": occupant.user, "nickname": occupant.nickname, "sessions": len(occupant.sessions)}
        users.append({**entry, "about": about} if about else entry)
    return {"users": users}


def rooms(hub: Hub, command: Rooms) -> Fields:
    """All rooms that the native dialect reaches."""
    described = [
        {"name": room.name, "people": room.people, "offset": room.offset}
        for room in hub.list_rooms()
        if room.name != protocol.BROADCAST_ROOM
    ]
    return {"rooms": described}


_ANSWERS: Final[dict[type[Command], Callable[[Hub, Any], Fields]]] = {
    Count: count,
    History: history,
    Who: who,
    Rooms: rooms,
}
