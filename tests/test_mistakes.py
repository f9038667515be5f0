"""Tests that the mistakes of a newcomer are answered with what to write instead.

Awaiting a client and asking for a wrong path are tested in tests/client/test_synchronous.py.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import threadchat
from threadchat import Chat, Client, Publisher
from threadchat.testing import LiveServer


async def coroutine(environ: dict[str, Any]) -> None:
    """What a newcomer from asyncio gives as a hook."""


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """What a newcomer from Channels mounts."""


anything: Any = threadchat  # hides the mistakes from the type checker
TROUBLESHOOTING = (Path(threadchat.__file__).parent / "docs/troubleshooting.md").read_text(encoding="utf-8")
NO_REDIS = "redis://127.0.0.1:1/0"

MADE_HERE: dict[str, tuple[Callable[[], object], str]] = {
    "a misspelt class": (lambda: anything.Chatt, r"no attribute 'Chatt'; did you mean Chat\?"),
    "a misspelt setting": (lambda: anything.Config(prot=8080), r"prot is not a setting; did you mean port\?"),
    "a setting of the wrong kind": (
        lambda: anything.Config(port="web"),
        r"'web' is not a whole number; it must be from",
    ),
    "settings in a dict, given to Config": (
        lambda: anything.Config({"port": 80}),
        r"^Config takes settings by name, and was given a dict; write Config\(\*\*settings\)$",
    ),
    "a setting without its name": (
        lambda: anything.Config("0.0.0.0"),
        r"^Config takes settings by name, and was given a str; write Config\(port=8080\)$",
    ),
    "settings in a dict": (
        lambda: anything.Chat({"port": 80}),
        r"config is a dict; it must be a Config, .*becomes by Config\(\*\*settings\)$",
    ),
    "an address given to Chat": (
        lambda: anything.Chat("http://127.0.0.1:8080"),
        r"config is a str; it must be a Config, such as .*; to connect to a server, use Client$",
    ),
    "a Config given to Client": (
        lambda: anything.Client(threadchat.Config()),
        r"^a Config is not a chat address such as ws://127\.0\.0\.1:8080/chat: it must begin with ws://",
    ),
    "a dict given to Client": (
        lambda: anything.Client({"url": "ws://127.0.0.1:8080"}),
        r"^a dict is not a chat address such as ws://127\.0\.0\.1:8080/chat: it must begin with ws://",
    ),
    "a user given to Client": (
        lambda: anything.Client("ws://127.0.0.1:1", {"nickname": "ann"}),
        r"^nickname is a dict; it must be text$",
    ),
    "a Config given to connect": (
        lambda: anything.connect(threadchat.Config()),
        r"^a Config: must be text .* an address looks like ws://host:port/path",
    ),
    "a Config given to Publisher": (
        lambda: anything.Publisher(threadchat.Config(broker=NO_REDIS)),
        r"^Publisher was given a Config; it must be the URL of a Redis: write Publisher\(config\.broker\)$",
    ),
    "settings given to Publisher": (
        lambda: anything.Publisher({"broker": NO_REDIS}),
        r"^Publisher was given a dict; it must be the URL of a Redis",
    ),
    "a Config given to Hub": (
        lambda: anything.Hub(threadchat.Config()),
        r"^broker is a Config; it must be a broker: write Hub\(MemoryBroker\(\)\)$",
    ),
    "a dict given to Room": (
        lambda: anything.Room({"name": "lobby"}),
        r"^name is a dict; it must be text, the name of the room$",
    ),
    "a setting given to Chat": (
        lambda: anything.Chat(port=8080),
        r"port is not a hook, but a setting: write Chat\(Config\(port=\.\.\.\)\)",
    ),
    "a misspelt hook": (
        lambda: anything.Chat(on_mesage=coroutine),
        r"on_mesage is not a hook; did you mean on_message\?; there are authenticate, ",
    ),
    "an async hook": (
        lambda: anything.Chat(authenticate=coroutine),
        r"authenticate: coroutine is async: nothing awaits it; use a plain def",
    ),
    "a hook with other parameters": (
        lambda: anything.Chat(authorize=lambda user: True),
        r"cannot be called as authorize\(user, action, room\)",
    ),
    "an ASGI application": (
        lambda: anything.Chat().mount(asgi),
        r"is an ASGI application.*its own instead: chat\.listen\(port\)",
    ),
    "a path without a slash": (
        lambda: Chat().mount(lambda environ, start_response: [], path="chat"),
        r"path='chat' must look like /chat",
    ),
    "a command without a name": (
        lambda: anything.Chat().command(lambda caller: None),
        r"command has no name; write @chat\.command\(\"name\"\)",
    ),
    "data instead of text": (
        lambda: anything.Chat().publish("lobby", {"a": 1}),
        r"message is of type dict; it must be text, so encode it first, as JSON",
    ),
    "a user without an id": (
        lambda: anything.Chat().publish("lobby", "hi", user={"nick": "ann"}),
        r"a user is an id, or has an `id` and a `nickname`; this dict has no id",
    ),
    "a port instead of an address": (
        lambda: anything.Client(8080),
        r"8080 is not a chat address such as ws://127\.0\.0\.1:8080/chat: it must begin with",
    ),
    "an address without a scheme": (
        lambda: Client("localhost:8080"),
        r"'localhost:8080' is not a chat address such as .* it must begin with ws://",
    ),
    "a Redis that is away": (
        lambda: Publisher(NO_REDIS).publish("lobby", "hi"),
        r"Redis at 127\.0\.0\.1:1: .*refused",
    ),
}


@pytest.mark.parametrize(("make", "answer"), MADE_HERE.values(), ids=MADE_HERE)
@pytest.mark.filterwarnings("ignore:something was published")
def test_a_mistake_is_answered_with_what_to_write(make: Callable[[], object], answer: str) -> None:
    with pytest.raises((threadchat.ThreadchatError, AttributeError), match=answer):
        make()


def explained(message: str) -> bool:
    """Whether troubleshooting has a row for a message of Python itself; an ellipsis stands for any name."""
    found = re.search(r"^## Awaited by mistake\n(.*?)^## ", TROUBLESHOOTING, re.MULTILINE | re.DOTALL)
    assert found is not None
    rows = re.findall(r"^\| `([^`]+)` \|", found[1], re.MULTILINE)
    return any(re.search(re.escape(row).replace("…", ".*"), message) for row in rows)


async def awaited(chat: Any) -> None:
    await chat.publish("lobby", "hi")


async def emitted(chat: Any) -> None:
    await chat.emit("lobby", "news", keep=False)


async def entered(chat: Any) -> None:
    async with chat:
        pass


async def iterated(chat: Any) -> None:
    async for _ in chat.hub.room("lobby").add("ann", "laptop"):
        pass


@pytest.mark.parametrize("use", [awaited, emitted, entered, iterated])
@pytest.mark.filterwarnings("ignore:something was published")
def test_what_python_says_of_await_is_in_troubleshooting(use: Callable[[Any], Any]) -> None:
    """These results are data, which other programs may inspect: they do not claim to be awaitable."""
    with Chat() as chat, pytest.raises(TypeError) as error:
        asyncio.run(use(chat))
    assert explained(str(error.value)), error.value


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, Chat() as chat:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1 port {port} is in use by another program; choose"):
            chat.listen(port)


def test_a_command_before_a_nickname() -> None:
    with (
        LiveServer() as server,
        Client(server.url) as chat,
        pytest.raises(threadchat.CommandError, match="choose a nickname first, with profile"),
    ):
        chat.join("lobby")
