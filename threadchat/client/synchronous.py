"""Explains to programs that use `await` or `async` that this client is synchronous."""

from __future__ import annotations

from typing import Final, NoReturn

SENTENCE: Final = (
    "threadchat's client is synchronous: call it without await, on a thread of its own; in asyncio, use "
    "await asyncio.to_thread(chat.message, room, text), and iterate on a thread that passes events on"
)


class Awaited:
    """A result that cannot be awaited: the call has already blocked the event loop until it was complete."""

    __slots__ = ()

    def __await__(self) -> NoReturn:
        raise TypeError(SENTENCE)


class Synchronous:
    """Makes `async with` and `async for` raise TypeError with an explanation."""

    def __aiter__(self) -> NoReturn:
        raise TypeError(SENTENCE)

    async def __aenter__(self) -> NoReturn:
        raise TypeError(SENTENCE)

    async def __aexit__(self, *_: object) -> None:
        """Never called; without this method, Python would raise another error first."""
