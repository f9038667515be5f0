"""Tests of what an application may hand in to be called, wherever it may."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from werkzeug.local import LocalProxy

from threadchat import Chat, Client, Room, serve
from threadchat.broker.memory import MemoryBroker
from threadchat.callbacks import check_callback, is_unrun
from threadchat.chat.hub import Hub
from threadchat.errors import ConfigError
from threadchat.plain.flask_sock import Sock
from threadchat.server.auth.hooks import ARGUMENTS, Hooks


async def promise(*arguments: object) -> bool:
    return False


async def promises(*arguments: object) -> Any:
    yield False


def later(*arguments: object) -> Any:
    yield False


class Promising:
    async def __call__(self, *arguments: object) -> bool:
        return False

    async def method(self, *arguments: object) -> bool:
        return False


class Answering:
    def __call__(self, environ: object) -> None: ...


UNRUN: list[tuple[Any, str]] = [
    (promise, "promise is async"),
    (functools.partial(promise, 1), "promise is async"),
    (functools.partial(functools.partial(Promising(), 1), 2), "Promising is async"),
    (Promising(), "Promising is async"),
    (Promising().method, r"Promising\.method is async"),
    (promises, "promises is an async generator"),
    (later, "later is a generator"),
]
unrun = pytest.mark.parametrize(("function", "sentence"), UNRUN, ids=[sentence for _, sentence in UNRUN])


def sock_route(handler: Any) -> object:
    return Sock(Flask("app")).route("/echo")(handler)


WAYS_IN: list[Callable[[Any], object]] = [
    *(functools.partial(lambda name, hook: Chat(**{name: hook}), name) for name in ARGUMENTS),
    *(functools.partial(lambda name, hook: getattr(Chat(), name)(hook), name) for name in ARGUMENTS),
    lambda listener: Room("lobby").attach_listener(listener),
    lambda listener: Hub(MemoryBroker()).attach_listener(listener),
    lambda token: Client("http://127.0.0.1:1", token=token),
    lambda handler: serve(handler, "127.0.0.1", 0),
    lambda process: serve(print, "127.0.0.1", 0, process_request=process),
    lambda select: serve(print, "127.0.0.1", 0, select_subprotocol=select),
    sock_route,
]


@pytest.mark.parametrize("hand_in", WAYS_IN)
@unrun
def test_what_would_not_run_is_refused_where_it_is_set(
    hand_in: Callable[[Any], object], function: Any, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=f"{sentence}.*: nothing here awaits it; write it with def"):
        hand_in(function)


@pytest.mark.parametrize("hand_in", WAYS_IN)
def test_what_cannot_be_called_is_refused_where_it_is_set(hand_in: Callable[[Any], object]) -> None:
    with pytest.raises(ConfigError, match="7 cannot be called; give a function"):
        hand_in(7)


@pytest.mark.parametrize("hand_in", WAYS_IN[:-1])  # a route's handler gets what the path says
def test_what_takes_other_arguments_is_refused_where_it_is_set(hand_in: Callable[[Any], object]) -> None:
    with pytest.raises(ConfigError, match=r"\(one, two, three, four\) cannot be called as \w+\("):
        hand_in(lambda one, two, three, four: None)


@pytest.mark.parametrize("name", list(ARGUMENTS))
def test_a_hook_takes_what_it_will_be_called_with(name: str) -> None:
    given = ARGUMENTS[name]
    exact = eval(f"lambda {', '.join(given)}: None")
    more = eval(f"lambda {', '.join(given)}, more: None")
    for right in (
        exact,
        functools.partial(more, 1),
        lambda *all_of_them: None,
        [].append if given[1:] == () else exact,
    ):
        Hooks().set(name, right)
    for wrong in (
        more,
        eval(f"lambda {', '.join(given[1:])}: None"),
        eval(f"lambda *, {', '.join(given)}: None"),
    ):
        with pytest.raises(ConfigError, match=f"cannot be called as {name}"):
            Hooks().set(name, wrong)


def test_what_python_cannot_tell_passes() -> None:
    check_callback("hook", dict, ("info",))  # a class without a signature
    check_callback("hook", Answering(), ("environ",))
    check_callback("hook", Answering, ())

    @functools.wraps(promise)
    def runs_it(*arguments: object) -> bool:
        return True

    check_callback("hook", runs_it, ("a", "b"))


def test_what_could_be_awaited_is_no_coroutine() -> None:
    assert not is_unrun(LocalProxy(lambda: 7))
    assert not is_unrun(None)
    assert all(is_unrun(function()) for function in (promise, promises, later))
