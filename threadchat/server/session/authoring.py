"""The commands about messages that exist: edit, delete, react; and what a new text mentions.

- `message` [`reply_to`: the id of a message] [`epoch`]: the event has `reply_to`, `mentions` (user ids) and,
  for `@room`, `everybody`.
- `edit` `room` `event` `message` [`epoch`]: event `edit` with `target`, `message`, `mentions`, `everybody`.
- `delete` `room` `event` [`epoch`]: an event `delete` with `target`.
- `react` and `unreact` `room` `event` `emoji` [`epoch`]: events of these names, with `target` and `emoji`. A
  reply without `offset` means that nothing had to change.

The log shows what became of a message: its last text and `edited` (the id of the last edit), `reactions` (the
user ids for each emoji), or `deleted`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from threadchat.chat.log.events import Details, Position
from threadchat.errors import CommandError
from threadchat.server.protocol import commands
from threadchat.server.session.publishing import check_emoji
from threadchat.server.session.session import Session

log = logging.getLogger(__name__)

Fields = dict[str, Any]


def edit(session: Session, command: commands.Edit) -> Fields:
    """Gives one's own message another text, within `edit_window` seconds."""
    hub, room, text = session.hub, command.room, command.message
    found = hub.find_own(room, command.event, command.epoch, session.user, session.edit_window)
    if session.screens:
        text = session.identity.reword(session.person, room, text)
    place = hub.edit(
        room,
        command.event,
        text,
        epoch=found.epoch,
        user=session.user,
        nickname=session.nickname,
        details=details(session, room, text),
    )
    return {"offset": place.offset}


def delete(session: Session, command: commands.Delete) -> Fields:
    """Removes the text of a message: one's own, or as a moderator any."""
    epoch = command.epoch
    try:
        found, message = session.hub.find_message(command.room, command.event, epoch)
        own = message.user == session.user
    except CommandError:  # a moderator gets the error, everybody else is not told
        own = False
    if own:
        epoch = found.epoch
    else:
        session.identity.check(session.person, "moderate", command.room)
    place = session.hub.delete(
        command.room, command.event, epoch=epoch, user=session.user, nickname=session.nickname
    )
    log.info("user %s deleted message %d of room %r", session.user, command.event, command.room)
    return {"offset": place.offset}


def react(session: Session, command: commands.React) -> Fields:
    """Puts an emoji to a message; without an effect if one's own is there already."""
    return _react(session, command, undo=False)


def unreact(session: Session, command: commands.Unreact) -> Fields:
    """Takes one's own emoji back; without an effect if it is not there."""
    return _react(session, command, undo=True)


def details(session: Session, room: str, text: str, reply_to: Position | None = None) -> Details | None:
    """Whom a text mentions, and what it answers. `@room` counts only from those who may moderate there."""
    return session.hub.details_of(
        room,
        text,
        reply_to,
        may_say_room=lambda: session.identity.may(session.person, "moderate", room),
    )


def mentions(session: Session, room: str, texts: Iterable[str]) -> list[Details | None]:
    """Like `details`, for several texts. An `authorize` of the application is asked at most once."""
    answers: list[bool] = []

    def may_say_room() -> bool:
        if not answers:
            answers.append(session.identity.may(session.person, "moderate", room))
        return answers[0]

    return session.hub.mentions_in(room, texts, may_say_room=may_say_room)


def _react(session: Session, command: commands.React, *, undo: bool) -> Fields:
    assert session.user is not None
    check_emoji(command.emoji)
    place = session.hub.react(
        command.room,
        command.event,
        command.emoji,
        epoch=command.epoch,
        user=session.user,
        nickname=session.nickname,
        undo=undo,
    )
    return {} if place is None else {"offset": place.offset}


HANDLERS: Final[dict[type[commands.Command], Callable[[Session, Any], Fields]]] = {
    commands.Edit: edit,
    commands.Delete: delete,
    commands.React: react,
    commands.Unreact: unreact,
}
