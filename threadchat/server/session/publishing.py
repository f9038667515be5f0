"""Checks what an application publishes, and publishes it."""

from __future__ import annotations

from typing import Any

from threadchat.chat.hub import Hub
from threadchat.chat.log.events import MESSAGE, Draft, Position, UserId, is_inbox
from threadchat.chat.log.ids import ID_RULE, LARGEST_ID, is_user_id
from threadchat.chat.log.keys import application_key
from threadchat.config.settings import Config
from threadchat.errors import CommandError, ErrorCode, RoomClosed, ThreadchatError
from threadchat.normalize import is_emoji, nfc
from threadchat.server.auth.name_policy import NamePolicy, name_policy
from threadchat.server.auth.users import as_user, exact_id, exactly_text
from threadchat.server.protocol.commands import MAX_EMOJI_LENGTH, MAX_KEY, MAX_NICKNAME, MAX_ROOM_NAME
from threadchat.server.protocol.encoding import BROADCAST_ROOM


def check_room(room: Any, names: NamePolicy | None = None) -> str:
    """Checks a room's name and returns it in NFC. `names`, if given, also checks the rules for new rooms.

    Raises CommandError 107.
    """
    name = _text("room", room, MAX_ROOM_NAME)
    if names is not None and name != BROADCAST_ROOM:
        names.room(name)
    if is_inbox(name):
        raise _bad("only its owner can read an inbox; name the user instead")
    return name


def check_message(message: Any, most: int) -> str:
    """Checks the text of a message, of at most `most` bytes in UTF-8. Raises CommandError 107."""
    if not isinstance(message, str):
        raise _bad(f"message is a {type(message).__name__}; it must be text, so encode it first, as JSON")
    if not message:
        raise _bad("message is empty")
    size = check_encodable("message", message)
    if size > most:
        raise _bad(f"message has {size} bytes; at most {most} are allowed (max_message_size)")
    return exactly_text(message)


def check_sender(user: object, nickname: Any) -> tuple[UserId | None, str]:
    """The id and the nickname of a message's sender. `nickname`, if not empty, replaces the user's nickname.

    Without any nickname, a text id is used for it, as in `Room.message`. Raises CommandError 107.
    """
    try:
        known = as_user(user, -LARGEST_ID)  # the ids of anonymous people are allowed
    except ThreadchatError as error:
        raise _bad(f"user: {error}") from None
    if nickname != "":
        nickname = _text("nickname", nickname, MAX_NICKNAME)
    if known is None:
        return None, nickname
    own = known.nickname or (known.id if isinstance(known.id, str) else "")
    return known.id or None, nickname or own


def check_user(user: Any) -> UserId:
    """Checks a user id, which may be an anonymous person's. Raises CommandError 107."""
    if not is_user_id(user, -LARGEST_ID):
        raise _bad(f"user is {user!r:.60}; it must be a user id: {ID_RULE}")
    return exact_id(user)


def publish(
    hub: Hub,
    config: Config,
    room: Any,
    message: Any,
    *,
    user: object,
    nickname: Any,
    key: Any,
    reply_to: Any = 0,
    epoch: str = "",
) -> Position:
    """See `Chat.publish`. `config` has the rules for names and the limit for messages."""
    name = check_room(room, name_policy(config.room_pattern, config.nickname_pattern))
    sender, called = check_sender(user, nickname)
    said = check_message(message, config.max_message_size)
    key = check_key(key)
    try:
        details = None
        if reply_to or "@" in said:
            answered = hub.find_message(name, check_event(reply_to), epoch)[0] if reply_to else None
            details = hub.details_of(name, said, answered, may_say_room=lambda: True)
        return hub.publish(name, [Draft(MESSAGE, sender, called, said, "", key, details=details)])[0]
    except RoomClosed:
        raise CommandError(ErrorCode.NOT_AVAILABLE, "the chat is closed") from None


def edit(
    hub: Hub, config: Config, room: Any, event: Any, message: Any, *, epoch: str, by: UserId | None
) -> Position:
    """See `Chat.edit`. `config` has the limit for messages."""
    name, said = check_room(room), check_message(message, config.max_message_size)
    event = check_event(event)
    try:
        details = hub.details_of(name, said, may_say_room=lambda: True)
        return hub.edit(name, event, said, epoch=epoch, user=by, details=details)
    except RoomClosed:
        raise CommandError(ErrorCode.NOT_AVAILABLE, "the chat is closed") from None


def react(
    hub: Hub, room: Any, event: Any, emoji: Any, user: object, *, nickname: Any, epoch: str, undo: bool
) -> Position | None:
    """See `Chat.react`."""
    name, event = check_room(room), check_event(event)
    check_emoji(emoji)
    sender, called = check_sender(user, nickname)
    if sender is None:
        raise _bad(f"user {user!r:.60} is nobody")
    try:
        return hub.react(name, event, emoji, epoch=epoch, user=sender, nickname=called, undo=undo)
    except RoomClosed:
        raise CommandError(ErrorCode.NOT_AVAILABLE, "the chat is closed") from None


def check_event(event: Any) -> int:
    """Checks the id of an event. Raises CommandError 107."""
    if not isinstance(event, int) or isinstance(event, bool):
        raise _bad(f"event is {event!r:.60}; it must be the id of an event, an integer")
    return event


def check_emoji(emoji: Any) -> None:
    """Checks the emoji of a reaction. Raises CommandError 107."""
    if not isinstance(emoji, str) or len(emoji) > MAX_EMOJI_LENGTH or not is_emoji(emoji):
        raise _bad(f"emoji is {emoji!r:.40}; it must be an emoji, of at most {MAX_EMOJI_LENGTH} characters")


def check_key(key: Any) -> str:
    """Checks the key of a message, which may be empty. Raises CommandError 107."""
    if not isinstance(key, str) or len(key) > MAX_KEY:
        raise _bad(f"key is {key!r:.60}; it must be text of at most {MAX_KEY} characters")
    check_encodable("key", key)
    return application_key(exactly_text(key))


def direct(hub: Hub, to: Any, message: Any, *, user: object, nickname: Any, most: int, key: Any = "") -> bool:
    """See `Chat.direct`. `most` is the limit for messages, in bytes."""
    to = check_user(to)
    sender, called = check_sender(user, nickname)
    try:
        said = check_message(message, most)
        return hub.send(to, said, sender=sender, nickname=called, key=check_key(key))
    except RoomClosed:
        raise CommandError(ErrorCode.NOT_AVAILABLE, "the chat is closed") from None


def _text(name: str, value: Any, most: int) -> str:
    if not isinstance(value, str):
        raise _bad(f"{name} is a {type(value).__name__}; it must be text")
    if not value.strip() or len(value) > most:
        raise _bad(f"{name} is {value!r:.60}; it must have from 1 to {most} characters, and not be blank")
    check_encodable(name, value)
    return nfc(exactly_text(value))


def check_encodable(name: str, value: str) -> int:
    """The number of bytes of `value` in UTF-8. Raises CommandError 107 if it cannot be encoded."""
    try:
        return len(value.encode())
    except UnicodeEncodeError:
        raise _bad(f"{name} has half a surrogate pair in it, which UTF-8 cannot encode") from None


def _bad(reason: str) -> CommandError:
    return CommandError(ErrorCode.BAD_REQUEST, reason)
