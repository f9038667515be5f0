"""Users and their ids: from the application, from a token, from a resume token, or new for a stranger."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

from threadchat.chat.access.revocations import Proof, Revocations
from threadchat.chat.broker_interface import Broker
from threadchat.chat.log.events import UserId
from threadchat.chat.log.ids import ID_RULE, is_user_id
from threadchat.errors import ThreadchatError
from threadchat.normalize import nfc
from threadchat.server.auth import resume
from threadchat.server.protocol.commands import MAX_NICKNAME, Hello


class User(NamedTuple):
    """A person. Where the application or tokens authenticate, `id` is theirs: an integer from 1, or text.

    The chat gives anonymous people an integer. It is below 0 if people are authenticated, so that it never
    equals one of their ids; else it is from 1. On the older dialect `/ws`, which has no ids, it is 0.
    """

    id: UserId
    nickname: str = ""


def stranger(broker: Broker, *, authenticates: bool) -> int:
    """A new id for an anonymous person, which no authenticated user has."""
    number = broker.new_user()
    return -number if authenticates else number


class Identified(NamedTuple):
    """Who somebody is, whether `resume` proves it, and when the proof was issued (Unix time)."""

    user: UserId
    nickname: str
    resumed: bool
    issued: float


def identify(
    hello: Hello,
    identity: User | None,
    broker: Broker,
    revocations: Revocations,
    *,
    authenticates: bool,
) -> Identified:
    """Who somebody is who says hello.

    The user named by the application or a token (`identity`) comes first, then the one that `resume` proves,
    then the fields of the hello. If people are authenticated (`authenticates`), `resume` restores the id of
    strangers only. Known users must log in or show a token each time, so that their access can be withdrawn;
    for them `resume` restores only the nickname that they chose. A `resume` that was revoked counts as none.
    """
    asked, now = hello.nickname or "", time.time()
    known = resume.verify(broker.resume_key, hello.resume, now) if hello.resume else None
    if known is not None and revocations.refuses(known.user, Proof(known.issued)):
        known = None
    if identity is not None:
        if known is None or known.user != identity.id:
            return Identified(identity.id, identity.nickname or asked, False, now)
        return Identified(identity.id, identity.nickname or asked or nfc(known.nickname), True, now)
    if known is None or (authenticates and not is_stranger(known.user)):
        return Identified(stranger(broker, authenticates=authenticates), asked, False, now)
    # Older servers did not normalize the nickname.
    return Identified(known.user, asked or nfc(known.nickname), True, known.issued)


def resume_token(broker: Broker, user: User, proven: float = 0.0) -> str:
    """The token with which a client may return as this user within `resume.RESUME_TTL`.

    `proven` is when it was proven who this is, in Unix time.
    """
    return resume.issue(broker.resume_key, user.id, user.nickname, time.time(), proven)


def as_user(value: Any, lowest: int = 1) -> User | None:
    """Converts what an application uses for a user: an id, or an object or mapping with `id` and `nickname`.

    `nickname` is optional. None, or an `id` of None, means nobody. A UUID becomes text. Raises
    ThreadchatError for anything else, and for an integer below `lowest`.
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
    """Whether an id is one that a chat with authentication gives to an anonymous person."""
    return isinstance(user, int) and user < 0


def exact_id(user: UserId) -> UserId:
    """The same id in NFC, as exactly `int` or `str`. JSON encoders refuse subclasses, such as an enum's."""
    return nfc(exactly_text(user)) if isinstance(user, str) else int(user)


def exactly_text(text: str) -> str:
    """The same text as exactly `str`. JSON encoders refuse subclasses, such as markupsafe's Markup.

    `str()` is not enough: for Django's SafeString it returns the same object.
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
