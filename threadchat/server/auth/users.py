"""Who somebody is: by the application's word, by a token, by proof of an earlier identity, or a stranger."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

from threadchat.chat.broker_interface import Broker
from threadchat.chat.log.events import UserId
from threadchat.chat.log.ids import ID_RULE, is_user_id
from threadchat.errors import ThreadchatError
from threadchat.normalize import nfc
from threadchat.server.auth import resume
from threadchat.server.protocol.commands import MAX_NICKNAME, Hello


class User(NamedTuple):
    """A person: `id` is the application's own where it authenticates: an integer from 1 on, or text.

    Anonymous people have an integer of the chat's making: below 0 where the application authenticates, so
    that the two never meet, else from 1 on. On the older dialect `/ws`, which knows no ids, it is 0.
    """

    id: UserId
    nickname: str = ""


def stranger(broker: Broker, *, authenticates: bool) -> int:
    """A fresh id for somebody anonymous, which is nobody's in the application."""
    number = broker.new_user()
    return -number if authenticates else number


def identify(
    hello: Hello, identity: User | None, broker: Broker, *, authenticates: bool
) -> tuple[UserId, str]:
    """Whose hello that is: id and nickname.

    What the application or a token says (`identity`) counts before what `resume` proves, and that before
    what is asked for. Where people are known (`authenticates`), `resume` is for strangers: the known come in
    by login or token only, and so may lose it; to them it gives back no more than the nickname they chose.
    """
    asked = hello.nickname or ""
    known = resume.verify(broker.resume_key, hello.resume, time.time()) if hello.resume else None
    if identity is not None:
        chosen = nfc(known.nickname) if known is not None and known.user == identity.id else ""
        return identity.id, identity.nickname or asked or chosen
    if known is None or (authenticates and not is_stranger(known.user)):
        return stranger(broker, authenticates=authenticates), asked
    return known.user, asked or nfc(known.nickname)  # an older server wrote it as it came


def is_resumed(hello: Hello, user: UserId, broker: Broker) -> bool:
    """Whether `resume` proves that this user is who they were."""
    known = resume.verify(broker.resume_key, hello.resume, time.time()) if hello.resume else None
    return known is not None and known.user == user


def resume_token(broker: Broker, user: User) -> str:
    """What lets that person come back as the same, within `resume.RESUME_TTL`."""
    return resume.issue(broker.resume_key, user.id, user.nickname, time.time())


def as_user(value: Any, lowest: int = 1) -> User | None:
    """What an application calls a user: an id, or a mapping or an object with `id` and maybe `nickname`.

    None, and whatever has the id None, is nobody; a UUID is its text. Raises ThreadchatError for anything
    else, and for an integer below `lowest`.
    """
    if isinstance(value, Mapping):
        found, nickname = value.get("id", _MISSING), value.get("nickname")
    elif value is None or isinstance(value, int | str | UUID):
        found, nickname = value, None
    else:
        found, nickname = getattr(value, "id", _MISSING), getattr(value, "nickname", None)
    if found is _MISSING:
        kind = type(value).__name__
        raise ThreadchatError(f"a user is an id, or has an `id` and a `nickname`; this {kind} has no id")
    if found is None:
        return None
    if isinstance(found, UUID):
        found = str(found)
    if not is_user_id(found, lowest):
        raise ThreadchatError(
            f"the user id {found!r:.60} is not {ID_RULE}; give the key that your database has for this user"
        )
    return User(exact_id(found), _check_nickname(found, nickname or ""))


_MISSING: Final = object()


def is_stranger(user: UserId) -> bool:
    """Whether an id is one of those that a chat which authenticates gives to people whom nobody knows."""
    return isinstance(user, int) and user < 0


def exact_id(user: UserId) -> UserId:
    """The same in NFC, as no subclass of int or str, which JSON has none for: of an enum, say."""
    return nfc(exactly_text(user)) if isinstance(user, str) else int(user)


def exactly_text(text: str) -> str:
    """The same as no subclass of str, which JSON has none for: of markupsafe's Markup, say.

    `str()` would not do: Django's SafeString returns itself.
    """
    return str.__str__(text)


def _check_nickname(user: UserId, nickname: object) -> str:
    if not isinstance(nickname, str):
        raise ThreadchatError(f"the nickname of user {user} is a {type(nickname).__name__}; it must be text")
    if len(nickname) > MAX_NICKNAME:
        raise ThreadchatError(
            f"the nickname of user {user} has {len(nickname)} characters; at most {MAX_NICKNAME} are "
            "allowed, so shorten it before the chat gets it"
        )
    try:
        nickname.encode()
    except UnicodeEncodeError:
        raise ThreadchatError(f"the nickname of user {user} has half a surrogate pair in it") from None
    return nfc(exactly_text(nickname).strip())
