"""What an edit, a reaction or a deletion changes in a room's log in Redis."""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from threadchat.broker.redis import encoding
from threadchat.broker.redis.log import RoomLog
from threadchat.chat.log.alterations import altered, check, superseded_edit, without_text
from threadchat.chat.log.events import Draft, Position, record
from threadchat.chat.log.sequencer import check_target

_ITS_ID: Final = 1 << 60
"""Stands for the id of an event that has none yet. room.lua puts the right one in."""


class Change(NamedTuple):
    """Replaces the body of the event `offset`, if it is still the one with this digest (empty: any).

    Without a body, it only says that a draft refers to that event, so that it belongs in the same log.
    """

    offset: int
    body: bytes = b""
    digest: str = ""

    @property
    def argument(self) -> bytes:
        """As `publish` of room.lua takes it."""
        return b"%b %b" % (self.digest.encode() or b"-", self.body) if self.body else b""


def changes_of(log: RoomLog, draft: Draft, epoch: str) -> list[Change] | None:
    """What a draft changes in the log of `epoch` as it is now; None if the draft has no effect.

    Raises CommandError 112 if it refers to another log, and what `alterations.check` raises.
    """
    if draft.refers is None:
        return []
    check_target(draft.refers, epoch)
    if draft.target is None:
        return [Change(draft.refers.offset)]
    message = log.at(draft.target)
    if not check(message, draft, log.room):
        return None
    assert message is not None, "it was checked"
    by = record(draft, _ITS_ID, log.room, 0).event
    digest = hashlib.sha1(encoding.body_in(message), usedforsecurity=False).hexdigest()
    changes = [Change(draft.target.offset, encoding.body_in(altered(message, by)), digest)]
    edit = superseded_edit(message.event, by)
    if edit and (last_edit := log.at(Position(edit, epoch))) is not None:
        changes.append(Change(edit, encoding.body_in(without_text(last_edit))))
    return changes
