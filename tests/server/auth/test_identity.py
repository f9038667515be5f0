"""Tests of a connection's sanction_check by itself: how hooks are called, and kept from doing harm."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from tests.server.auth.test_users import Marked
from threadchat.errors import CommandError, ConnectionClosed, ErrorCode, Refuse
from threadchat.server.auth.hooks import Hooks, SessionInfo
from threadchat.server.auth.identity import Identity
from threadchat.server.auth.permissions import Permissions
from threadchat.server.auth.tokens import Pass
from threadchat.server.auth.users import User
from threadchat.server.protocol import commands

ANN = User(7, "ann")


def identity(identity: User | None = None, **hooks: Any) -> Identity:
    connection: Any = SimpleNamespace(number=17, label="user 7 'ann'", closed=None)
    return Identity(connection, Hooks(**hooks), identity, "10.0.0.9")


def fail(*arguments: object) -> Any:
    raise ValueError("the database is away")


# -- without hooks -----------------------------------------------------------------------------------


def test_without_hooks_everything_passes() -> None:
    nobody = identity()
    nobody.arrived(ANN)
    nobody.check(ANN, "join", "lobby")
    assert nobody.screen(ANN, "lobby", "hi") == "hi"
    nobody.departed(ANN)
    assert nobody.given_name is None


def test_a_name_is_given_by_the_application_or_not() -> None:
    assert identity(ANN).given_name == "ann"
    assert identity(User(7)).given_name is None


# -- on_connect, on_disconnect -----------------------------------------------------------------------


def test_who_came_goes_once() -> None:
    calls: list[Any] = []
    ann = identity(on_connect=calls.append, on_disconnect=lambda *told: calls.append(told))
    ann.arrived(User(7, "ann"), "s1")
    info = SessionInfo(User(7, "ann"), "s1", 17, "10.0.0.9")
    ann._connection.closed = ConnectionClosed(3001, "shutdown")
    ann.departed(User(7, "anna"))
    ann.departed(User(7, "anna"))
    assert calls == [info, (info._replace(user=User(7, "anna")), 3001, "shutdown")]


def test_a_connection_that_was_lost_has_a_code_too() -> None:
    calls: list[Any] = []
    ann = identity(on_disconnect=lambda *told: calls.append(told[1:]))
    ann.arrived(ANN)
    ann.departed(ANN)
    assert calls == [(1006, "")]


@pytest.mark.parametrize("hook", [fail, lambda info: (_ for _ in ()).throw(Refuse("banned"))])
def test_who_never_came_never_goes(hook: Any) -> None:
    ann = identity(on_connect=hook, on_disconnect=lambda *told: pytest.fail("they never came"))
    with pytest.raises(CommandError):
        ann.arrived(ANN)
    ann.departed(ANN)


def test_a_farewell_that_fails_is_in_the_log_only(caplog: pytest.LogCaptureFixture) -> None:
    ann = identity(on_disconnect=fail)
    ann.arrived(ANN)
    ann.departed(ANN)
    assert "connection 17 (user 7 'ann'): the hook fail failed" in caplog.text


# -- authorize ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [False, None])
def test_false_and_nothing_are_a_no(answer: object) -> None:
    with pytest.raises(CommandError, match="you may not join room lobby") as refused:
        identity(authorize=lambda *asked: answer).check(ANN, "join", "lobby")
    assert refused.value.code == 103


async def promise() -> bool:
    return True


def later() -> Any:
    yield True


ODD_ANSWERS = [0, 1, "yes", promise, later]
"""What is no answer to a question of yes or no; the functions' results, at that."""


def given(answer: Any) -> Any:
    return answer() if callable(answer) else answer


@pytest.mark.parametrize("name", ["authorize", "moderates", "on_connect"])
@pytest.mark.parametrize("answer", ODD_ANSWERS)
def test_an_answer_that_is_none_is_an_error_and_a_no(
    name: str, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ann = identity(ANN, **{name: lambda *asked: given(answer)})
    ask: dict[str, Any] = {
        "authorize": lambda: ann.check(ANN, "join", "lobby"),
        "moderates": lambda: ann.check(ANN, "moderate", "lobby"),
        "on_connect": lambda: ann.arrived(ANN),
    }
    with pytest.raises(CommandError) as refused:
        ask[name]()
    assert refused.value.code == 100
    assert f"{name} returned a " in caplog.text
    assert ("it did not run" in caplog.text) is callable(answer)


@pytest.mark.parametrize(("answer", "comes_in"), [(None, True), (True, True), (False, False)])
def test_on_connect_may_say_no(answer: bool | None, comes_in: bool) -> None:
    went: list[Any] = []
    ann = identity(on_connect=lambda info: answer, on_disconnect=lambda *told: went.append(told))
    if comes_in:
        ann.arrived(ANN)
    else:
        with pytest.raises(Refuse, match="did not let you in"):
            ann.arrived(ANN)
    ann.departed(ANN)
    assert len(went) == comes_in


@pytest.mark.parametrize("answer", [promise, later])
def test_an_on_message_or_on_disconnect_that_did_not_run_is_in_the_log(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ann = identity(on_message=lambda *said: answer(), on_disconnect=lambda *told: answer())
    with pytest.raises(CommandError) as refused:
        ann.screen(ANN, "lobby", "hi")
    assert refused.value.code == 100
    ann.arrived(ANN)
    ann.departed(ANN)
    assert [name in caplog.text for name in ("on_message returned", "on_disconnect returned")] == [True] * 2


def test_authorize_may_say_why() -> None:
    def members_only(user: User, action: str, room: str | int) -> bool:
        raise Refuse(f"{room} is for members")

    with pytest.raises(CommandError, match="vip is for members") as refused:
        identity(authorize=members_only).check(ANN, "join", "vip")
    assert refused.value.code == 103


@pytest.mark.parametrize(
    ("command", "asked"),
    [
        (commands.Join(room="r"), ("join", "r")),
        (commands.Subscribe(room="r"), ("subscribe", "r")),
        (commands.History(room="r"), ("history", "r")),
        (commands.Count(room="r"), ("history", "r")),
        (commands.Who(room="r"), ("who", "r")),
        (commands.SendDirect(to=9, message="hi"), ("direct", 9)),
    ],
)
def test_which_commands_are_asked_about(command: commands.Command, asked: tuple[str, object]) -> None:
    calls: list[Any] = []

    def note(*arguments: Any) -> bool:
        calls.append(arguments)
        return True

    identity(authorize=note).check_command(ANN, command)
    assert calls == [(ANN, *asked)]


@pytest.mark.parametrize(
    "command", [commands.Hello(), commands.Ping(), commands.Rooms(), commands.Leave(room="r")]
)
def test_other_commands_are_nobodys_business(command: commands.Command) -> None:
    identity(authorize=lambda *asked: pytest.fail("asked")).check_command(ANN, command)


# -- on_message --------------------------------------------------------------------------------------


def test_a_message_may_be_changed() -> None:
    assert identity(on_message=lambda user, room, text: f"{user.nickname}@{room}: {text}").screen(
        ANN, "r", "hi"
    ) == ("ann@r: hi")


def test_a_message_may_become_text_of_a_template() -> None:
    assert type(identity(on_message=lambda *said: Marked("hi")).screen(ANN, "r", "hi")) is str


@pytest.mark.parametrize("answer", [None, ""])
def test_a_message_may_be_refused(answer: str | None) -> None:
    with pytest.raises(CommandError, match="not accepted in room r") as refused:
        identity(on_message=lambda *said: answer).screen(ANN, "r", "hi")
    assert refused.value.code == 103


def test_who_may_not_speak_is_not_heard() -> None:
    ann = identity(authorize=lambda *asked: False, on_message=lambda *said: pytest.fail("heard"))
    with pytest.raises(CommandError, match="you may not write in room r"):
        ann.screen(ANN, "r", "hi")


def test_an_answer_that_is_no_text_is_an_internal_error(caplog: pytest.LogCaptureFixture) -> None:
    wrong: Any = lambda *said: 3  # noqa: E731
    with pytest.raises(CommandError) as failed:
        identity(on_message=wrong).screen(ANN, "r", "hi")
    assert failed.value.code == ErrorCode.INTERNAL
    assert "on_message returned a int, not text or None" in caplog.text


@pytest.mark.parametrize(
    "error", [ValueError("x"), ConnectionClosed(1006), CommandError(ErrorCode.NOT_AVAILABLE), KeyError("x")]
)
def test_what_a_hook_raises_is_an_internal_error_to_the_client(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def raise_it(*said: object) -> str:
        raise error

    with caplog.at_level(logging.ERROR), pytest.raises(CommandError) as failed:
        identity(on_message=raise_it).screen(ANN, "r", "hi")
    assert failed.value.code == ErrorCode.INTERNAL
    assert "connection 17 (user 7 'ann')" in caplog.text


def test_all_messages_are_screened_each_by_itself() -> None:
    refused: list[Any] = []

    def only_short(user: User, room: str, text: str) -> str | None:
        return text.upper() if len(text) < 5 else None

    passed = identity(on_message=only_short).screen_all(
        ANN,
        [commands.Message(id=i, room="r", message=text) for i, text in enumerate(["a", "too long", "b"])],
        lambda error, number: refused.append((int(error.code), number)),
    )
    assert [(item.id, item.message) for item in passed] == [(0, "A"), (2, "B")]
    assert refused == [(103, 1)]


# -- who may moderate --------------------------------------------------------------------------------

MODERATOR = Permissions.of({"lobby": "m"})


@pytest.mark.parametrize(
    ("identity", "permissions", "hook", "may"),
    [
        (ANN, MODERATOR, None, True),
        (ANN, MODERATOR, lambda *asked: False, True),
        (ANN, MODERATOR, lambda *asked: True, True),
        (ANN, Permissions.of(["lobby"]), None, False),
        (ANN, Permissions.of(["lobby"]), lambda *asked: True, True),
        (ANN, None, None, False),
        (ANN, None, lambda *asked: False, False),
        (ANN, None, lambda user, room: (user.id, room) == (7, "lobby"), True),
        (None, None, lambda *asked: True, False),
        (None, None, None, False),
    ],
)
def test_who_may_moderate(
    identity: User | None, permissions: Permissions | None, hook: Any, may: bool
) -> None:
    connection: Any = SimpleNamespace(number=17, label="", closed=None)
    shown = Pass(ANN, 1e12, permissions) if permissions else None
    hooks = Hooks(moderates=hook, authorize=lambda *asked: True)  # which says nothing about moderating
    sanction_check = Identity(connection, hooks, identity, shown=shown)
    assert sanction_check.may(ANN, "moderate", "lobby") is may
