"""Finds the message that a deletion refers to."""

from __future__ import annotations

import contextlib

from threadchat.chat.log.events import MESSAGE, Position
from threadchat.chat.log.sequencer import Page, check_target
from threadchat.chat.room import Room
from threadchat.errors import CommandError, ErrorCode


def find_message(room: Room, event: int, epoch: str) -> Position:
    """The position of a message that still has its text.

    Raises CommandError 107 if there is no such message, and 112 if `epoch` is not the epoch of the room's
    log.
    """
    head = room.fanout.head
    target = Position(event, epoch or head.epoch)
    check_target(target, head.epoch)
    page: Page | None = None
    if 0 < event <= head.offset:
        with contextlib.suppress(CommandError):  # it is older than the log, or a new log has begun
            page = room.history(Position(event - 1, head.epoch), 1)
    kept = [item.event for item in page.records] if page else []
    if not kept or kept[0].type != MESSAGE or kept[0].deleted:
        reason = f"event {event} of room {room.name} is not a message, or was deleted already"
        raise CommandError(ErrorCode.BAD_REQUEST, reason)
    return target
