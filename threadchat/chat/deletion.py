"""Looks whether an event of a room is a message that can be deleted."""

from __future__ import annotations

import contextlib

from threadchat.chat.log.events import MESSAGE, Position
from threadchat.chat.log.sequencer import Page
from threadchat.chat.room import Room
from threadchat.errors import CommandError, ErrorCode


def check_deletable(room: Room, event: int) -> None:
    """Raises CommandError 107 where `event` is not the id of a message in the log, with its text."""
    head = room.fanout.head
    page: Page | None = None
    if 0 < event <= head.offset:
        with contextlib.suppress(CommandError):  # it is older than the log, or another log began
            page = room.history(Position(event - 1, head.epoch), 1)
    kept = [item.event for item in page.records] if page else []
    if not kept or kept[0].type != MESSAGE or kept[0].deleted:
        reason = f"event {event} of room {room.name} is no message, or one that is gone already"
        raise CommandError(ErrorCode.BAD_REQUEST, reason)
