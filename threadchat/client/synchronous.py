"""Tells a program that awaits what does not need it that this client is synchronous."""

from __future__ import annotations

from typing import Final, NoReturn

SENTENCE: Final = (
    "threadchat's client is synchronous: call it without await, on a thread of its own; in asyncio, that is "
    "await asyncio.to_thread(chat.message, room, text), and for an iteration a thread that hands events over"
)


class Awaited:
    """What a call returned. It was done before it could be awaited, and blocked the event loop until then."""

    __slots__ = ()

    def __await__(self) -> NoReturn:
        raise TypeError(SENTENCE)


class Synchronous:
    """What `async with` and `async for` cannot be used with. Each raises TypeError."""

    def __aiter__(self) -> NoReturn:
        raise TypeError(SENTENCE)

    async def __aenter__(self) -> NoReturn:
        raise TypeError(SENTENCE)

    async def __aexit__(self, *_: object) -> None:
        """Never called; without it there would be another error first."""
