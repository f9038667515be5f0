"""Tests of who somebody is: what an application may call a user, and whose hello it is."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from threadchat.broker.memory import MemoryBroker
from threadchat.chat.access.revocations import Revocations
from threadchat.chat.log.ids import LARGEST_ID
from threadchat.errors import ThreadchatError
from threadchat.server.auth import resume
from threadchat.server.auth.users import User, as_user, identify, resume_token, stranger
from threadchat.server.protocol.commands import MAX_NICKNAME, Hello


@dataclass
class Account:
    id: int
    nickname: str


@pytest.mark.parametrize(
    ("value", "user"),
    [
        (7, User(7, "")),
        (User(7, "ann"), User(7, "ann")),
        (Account(7, "ann"), User(7, "ann")),
        ({"id": 7, "nickname": "ann"}, User(7, "ann")),
        ({"id": 7}, User(7, "")),
        ({"id": 7, "nickname": None}, User(7, "")),
        (SimpleNamespace(id=7), User(7, "")),
        (SimpleNamespace(id=7, nickname="  ann "), User(7, "ann")),
        (LARGEST_ID, User(LARGEST_ID, "")),
        ("7", User("7", "")),
        ("ann@example.org", User("ann@example.org", "")),
        ({"id": "3f2b", "nickname": "ann"}, User("3f2b", "ann")),
        (UUID(int=7), User("00000000-0000-0000-0000-000000000007", "")),
        (SimpleNamespace(id=UUID(int=7)), User("00000000-0000-0000-0000-000000000007", "")),
        ("é" * 128, User("é" * 128, "")),
        (None, None),
        (SimpleNamespace(id=None, nickname="AnonymousUser"), None),
        ({"id": None}, None),
    ],
)
def test_what_a_user_may_look_like(value: Any, user: User | None) -> None:
    assert as_user(value) == user


class Number(int):
    """What JSON has no word for."""


class Marked(str):
    """As Django's SafeString and markupsafe's Markup: its own text is one of its kind again."""

    def __str__(self) -> str:
        return self

    def strip(self, chars: str | None = None, /) -> str:
        return Marked(super().strip(chars))


def test_a_user_is_made_of_what_can_be_sent() -> None:
    user = as_user({"id": Number(7), "nickname": Marked("ann")})
    assert user == User(7, "ann")
    assert [type(part) for part in user] == [int, str]
    named = as_user(Marked("ann"))
    assert named is not None
    assert type(named.id) is str


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "'' is not an integer from 1 to .*, or text"),
        ({"id": "a\nb"}, "is not an integer"),
        ("x" * 129, "is not an integer"),
        ("half \ud83d", "is not an integer"),
        (SimpleNamespace(id=1.5), "1.5 is not an integer"),
        (True, "True is not an integer"),
        (0, "from 1 to"),
        (-3, "from 1 to"),
        (LARGEST_ID + 1, "from 1 to"),
        (object(), "this object has no id"),
        ({"nickname": "ann"}, "this dict has no id"),
        (SimpleNamespace(id=7, nickname="\ud800"), "nickname of user 7 has half a surrogate pair"),
        (SimpleNamespace(id=7, nickname=3), "nickname of user 7 is a int"),
        (SimpleNamespace(id=7, nickname="x" * (MAX_NICKNAME + 1)), "65 characters; at most 64"),
    ],
)
def test_what_no_user_looks_like(value: Any, why: str) -> None:
    with pytest.raises(ThreadchatError, match=why):
        as_user(value)


def test_strangers_have_ids_that_are_nobodys_in_the_application() -> None:
    broker = MemoryBroker()
    assert stranger(broker, authenticates=False) == 1
    assert stranger(broker, authenticates=True) == -2


class Door:
    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.revocations = Revocations(self.broker.revocations, lambda user: ())

    def hello(
        self, identity: User | None = None, authenticates: bool = True, **fields: Any
    ) -> tuple[int, str]:
        return identify(
            Hello(**fields), identity, self.broker, self.revocations, authenticates=authenticates
        )[:2]


def test_the_applications_word_counts_before_everything() -> None:
    door = Door()
    token = resume_token(door.broker, User(-5, "mallory"))
    assert door.hello(User(7, "ann"), nickname="bob", resume=token) == (7, "ann")
    assert door.hello(User(7), nickname="bob", resume=token) == (7, "bob")
    assert door.hello(User(7), resume=token) == (7, "")


def test_a_token_brings_a_stranger_back() -> None:
    door = Door()
    token = resume_token(door.broker, User(-5, "eve"))
    assert door.hello(resume=token) == (-5, "eve")
    assert door.hello(resume=token, nickname="eva") == (-5, "eva")
    assert door.hello(resume="bad", nickname="eva") == (-1, "eva")


def test_no_token_is_a_login() -> None:
    """Whoever logged out, or was thrown out, has the last hello's token still."""
    door = Door()
    token = resume_token(door.broker, User(7, "ann"))
    user, nickname = door.hello(resume=token)
    assert user < 0
    assert nickname == ""
    assert door.hello(resume=token, authenticates=False) == (7, "ann")


def test_a_token_says_who_it_was_for() -> None:
    broker = MemoryBroker()
    known = resume.verify(broker.resume_key, resume_token(broker, User(3, "ann")), 0.0)
    assert known is not None
    assert (known.user, known.nickname) == (3, "ann")
