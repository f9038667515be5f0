"""Answers the native dialect's questions about rooms; changes nothing."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from threadchat.chat.delivery.subscription import Filter
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import Position, UserId, is_inbox
from threadchat.chat.log.sequencer import MAX_HISTORY_BYTES
from threadchat.chat.presence import Occupant
from threadchat.chat.room import Room
from threadchat.chat.room_shares import NOBODY, Openers
from threadchat.server.protocol import encoding
from threadchat.server.protocol.commands import MAX_LISTED, Command, Count, History, Rooms, Who
from threadchat.server.session import unread
from threadchat.server.session.session import Session

Fields = dict[str, Any]


def ask(session: Session, command: Count | History | Who) -> Fields:
    """Answers a question about one room, within the asker's budget."""
    with session.budget.question():
        return _ANSWERS[type(command)](session.hub, command, session.budget.openers)


def ask_for_rooms(session: Session, command: Rooms) -> Fields:
    """Lists the rooms that somebody may see, within their budget."""
    restricted = session.identity.permissions is not None
    with session.budget.question():
        reply = rooms(session.hub, command, session.identity.may_see if restricted else None)
        return {**reply, **unread.unread(session, command.prefix)}  # others may get the same reply


def count(hub: Hub, command: Count, openers: Openers = NOBODY) -> Fields:
    """The number of events in the log that pass a filter. The room counts for `openers` if it is opened."""
    encoding.check_filter(command.types, command.names)
    wanted = Filter(command.types, command.users, command.names)
    return {"count": _find(hub, command.room, openers).count(wanted)}


def history(hub: Hub, command: History, openers: Openers = NOBODY) -> Fields:
    """A page of the log. The events are already JSON."""
    since = None if command.since is None else Position(command.since.offset, command.since.epoch)
    page = _find(hub, command.room, openers).history(since, command.limit, command.reverse)
    events = [msgspec.Raw(record.json) for record in page.records]
    return {"events": events, **encoding.position_fields(page.head)}


def who(hub: Hub, command: Who, openers: Openers = NOBODY) -> Fields:
    """The people in a room, in the order of their ids, each with the number of sessions."""
    people = _find(hub, command.room, openers).who()
    if command.after is not None:
        last = _rank(command.after)
        people = [occupant for occupant in people if _rank(occupant.user) > last]
    first = heapq.nsmallest(MAX_LISTED + 1, people, key=lambda occupant: _rank(occupant.user))
    return _listed("users", (_described(hub, occupant) for occupant in first))


def rooms(hub: Hub, command: Rooms, may_see: Callable[[str], bool] | None = None) -> Fields:
    """The rooms with the most people, of those that the native dialect reaches and `may_see` allows."""
    listing = hub.list_rooms()
    is_whole = may_see is None and not command.prefix
    if is_whole and listing.reply is not None:
        reply: Fields = listing.reply
        return reply
    found = (
        room
        for room in listing.rooms
        if room.name.startswith(command.prefix)
        and room.name != encoding.BROADCAST_ROOM
        and (may_see is None or may_see(room.name))
    )
    fields = _listed("rooms", (room._asdict() for room in found))
    if is_whole:
        listing.reply = fields  # everybody who asks for the same list gets the same reply
    return fields


def _find(hub: Hub, room: str, openers: Openers) -> Room:
    """A room that is not an inbox; not even operators may read inboxes. Raises CommandError 102 and 103."""
    if is_inbox(room):
        encoding.check_reachable(room)
    return hub.find(room, openers)


def _described(hub: Hub, occupant: Occupant) -> Fields:
    about = hub.about(occupant.user) or occupant.about
    entry = {"id": occupant.user, "nickname": occupant.nickname, "sessions": len(occupant.sessions)}
    return {**entry, "about": about} if about else entry


def _rank(user: UserId) -> tuple[bool, Any]:
    """The sort key of a user id: integers come before text."""
    return isinstance(user, str), user


def _listed(field: str, entries: Iterable[Fields]) -> Fields:
    """As many encoded entries as fit into one reply, and `more` if there are others."""
    taken: list[msgspec.Raw] = []
    size = 0
    for entry in entries:
        json = msgspec.json.encode(entry)
        size += len(json)
        if len(taken) == MAX_LISTED or (taken and size > MAX_HISTORY_BYTES):
            return {field: taken, "more": True}
        taken.append(msgspec.Raw(json))
    return {field: taken}


_ANSWERS: Final[dict[type[Command], Callable[[Hub, Any, Openers], Fields]]] = {
    Count: count,
    History: history,
    Who: who,
}

HANDLERS: Final[dict[type[Command], Callable[[Session, Any], Fields]]] = {
    **dict.fromkeys(_ANSWERS, ask),
    Rooms: ask_for_rooms,
}
