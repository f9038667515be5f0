"""How edits, reactions and deletions change a message that is in the log already. No locks, no I/O."""

from __future__ import annotations

from typing import Final

import msgspec

from threadchat.chat.log.events import (
    DELETE,
    EDIT,
    MESSAGE,
    REACT,
    UNREACT,
    Draft,
    Event,
    Record,
    UserId,
    encoded,
)
from threadchat.errors import CommandError, ErrorCode

MAX_EMOJI: Final = 20
"""The number of different emoji at one message."""
MAX_REACTIONS: Final = 500
"""The number of reactions to one message, all emoji counted: each takes the bytes of a user id in the log."""


def check(target: Record | None, draft: Draft, room: str) -> bool:
    """Whether a draft changes its target, as that is now. False for a reaction that is there already.

    Raises CommandError 107 if the target is no message, or was deleted, and 106 if it has as many reactions
    as it may have.
    """
    event = target.event if target else None
    if event is None or event.type != MESSAGE or event.deleted:
        offset = draft.target.offset if draft.target else 0
        reason = f"event {offset} of room {room} is not a message, or was deleted already"
        raise CommandError(ErrorCode.BAD_REQUEST, reason)
    if draft.type not in (REACT, UNREACT) or draft.details is None:
        return True
    reactions = event.reactions or {}
    users = reactions.get(draft.details.emoji, ())
    if draft.type == UNREACT:
        return draft.user in users
    if draft.user in users:
        return False
    if not users and len(reactions) >= MAX_EMOJI:
        raise CommandError(ErrorCode.LIMIT_EXCEEDED, f"the message has {MAX_EMOJI} different emoji already")
    if sum(map(len, reactions.values())) >= MAX_REACTIONS:
        raise CommandError(ErrorCode.LIMIT_EXCEEDED, f"the message has {MAX_REACTIONS} reactions already")
    return True


def altered(target: Record, by: Event) -> Record:
    """What the log has in the place of `target` after the event `by`."""
    event = target.event
    if by.type == DELETE:
        return without_text(target)
    if event.deleted or by.deleted:  # an edit that is deleted was followed by another one
        return target
    if by.type == EDIT:
        told = {"message": by.message, "mentions": by.mentions, "everybody": by.everybody}
        return encoded(msgspec.structs.replace(event, edited=by.id, **told))
    if by.type in (REACT, UNREACT):
        return encoded(msgspec.structs.replace(event, reactions=_reactions(event, by)))
    return target


def superseded_edit(message: Event, by: Event) -> int:
    """The id of the edit whose text must leave the log with the event `by`, or 0 if there is none.

    By this, the log has the last text of a message twice at most, and none of a deleted one.
    """
    return message.edited if by.type in (EDIT, DELETE) and message.edited < by.id else 0


def without_text(deleted: Record) -> Record:
    """What is left of a deleted message, or of an edit that no longer counts: its place, time and author."""
    event = deleted.event
    empty = {"message": "", "mentions": (), "everybody": False, "edited": 0, "reactions": None}
    return encoded(msgspec.structs.replace(event, deleted=True, **empty))


def _reactions(event: Event, by: Event) -> dict[str, tuple[UserId, ...]] | None:
    reactions = dict(event.reactions or {})  # a copy, because threads share the event
    users = tuple(user for user in reactions.get(by.emoji, ()) if user != by.user)
    if by.type == REACT and by.user is not None:
        users = (*users, by.user)
    reactions[by.emoji] = users
    return {emoji: given for emoji, given in reactions.items() if given} or None
