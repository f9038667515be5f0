"""Tests of what a program hears that awaits what is synchronous, or comes to the wrong path."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import pytest

from threadchat import Client, HandshakeRefused, connect
from threadchat.errors import HandshakeRefused as Refused
from threadchat.testing import LiveServer


@pytest.fixture
def server() -> Iterator[LiveServer]:
    with LiveServer() as server:
        yield server


anything: Any = connect  # hides the mistakes from the type checker


async def awaited(chat: Any) -> None:
    await chat.message("lobby", "hi")


async def iterated(chat: Any) -> None:
    async for _ in chat:
        pass


async def entered(chat: Any) -> None:
    async with chat:
        pass


@pytest.mark.parametrize("use", [awaited, iterated, entered])
def test_whoever_awaits_is_told_that_it_is_synchronous(server: LiveServer, use: Any) -> None:
    with (
        Client(server.page, "ann") as chat,
        pytest.raises(TypeError, match=r"is synchronous: call it without await.*asyncio\.to_thread"),
    ):
        asyncio.run(use(chat))


async def connected(url: str) -> None:
    await anything(url)


async def entered_by_async_with(url: str) -> None:
    async with anything(url):
        pass


async def iterated_over_a_connection(url: str) -> None:
    with connect(url) as websocket:
        async for _ in cast(Any, websocket):
            pass


@pytest.mark.parametrize("use", [connected, entered_by_async_with, iterated_over_a_connection])
def test_whoever_awaits_connect_is_told_that_it_is_synchronous(server: LiveServer, use: Any) -> None:
    with pytest.raises(TypeError, match=r"is synchronous: call it without await.*asyncio\.to_thread"):
        asyncio.run(use(server.at("/ws")))


def test_a_wrong_path_names_those_that_there_are(server: LiveServer) -> None:
    for reach in (lambda: Client(f"{server.page}chatt", "ann"), lambda: connect(server.at("/chatt"))):
        with pytest.raises(HandshakeRefused, match=r"status 404: There is no WebSocket.*: /, /chat, /ws\.$"):
            reach()


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        ("text/plain; charset=utf-8", "Log in first.\nReally.\n", "status 401: Log in first."),
        ("Text/Plain", " \n", "status 401"),
        ("text/html", "<h1>no</h1>", "status 401"),
        ("application/json", "{}", "status 401"),
        ("text/plain", "\x1b[2Jgone\x07\n", "status 401: ?[2Jgone?"),
        ("text/plain", "x" * 5000, f"status 401: {'x' * 300}"),
    ],
)
def test_the_reason_of_a_refusal_is_the_first_line_of_its_text(kind: str, body: str, told: str) -> None:
    refused = Refused(401, [("Content-Type", kind)], body)
    assert str(refused).endswith(told)
    assert refused.body == body
