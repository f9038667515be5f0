"""Finds the message that a deletion is for."""

from __future__ import annotations

import contextlib

from threadchat.chat.log.events import MESSAGE, Position
from threadchat.chat.log.sequencer import Page, check_target
from threadchat.chat.room import Room
from threadchat.errors import CommandError, ErrorCode


def find_message(room: Room, event: int, epoch: str) -> Position:
    """The place of a message that has its text. Raises CommandError 107 where there is none, and 112."""
    head = room.fanout.head
    target = Position(event, epoch or head.epoch)
    check_target(target, head.epoch)
    page: Page | None = None
    if 0 < event <= head.offset:
        with contextlib.suppress(CommandError):  # it is older than the log, or another log began
            page = room.history(Position(event - 1, head.epoch), 1)
    kept = [item.event for item in page.records] if page else []
    if not kept or kept[0].type != MESSAGE or kept[0].deleted:
        reason = f"event {event} of room {room.name} is no message, or one that is gone already"
        raise CommandError(ErrorCode.BAD_REQUEST, reason)
    return target
