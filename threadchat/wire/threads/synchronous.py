"""Explains to programs that use `await` or `async` that threadchat is synchronous."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

SENTENCE: Final = (
    "threadchat is synchronous: call it without await, on a thread of its own; in asyncio, write "
    "await asyncio.to_thread(function, argument, ...), and iterate on a thread that passes on what comes"
)


class Awaited:
    """A result that cannot be awaited: the call has already blocked the event loop until it was complete."""

    __slots__ = ()

    if not TYPE_CHECKING:  # a type checker says the same, before the program runs

        def __await__(self) -> NoReturn:
            raise TypeError(SENTENCE)


class Synchronous:
    """Makes `async with` and `async for` raise TypeError with an explanation."""

    __slots__ = ()

    if not TYPE_CHECKING:

        def __aiter__(self) -> NoReturn:
            raise TypeError(SENTENCE)

        async def __aenter__(self) -> NoReturn:
            raise TypeError(SENTENCE)

        async def __aexit__(self, *_: object) -> None:
            """Never called; without this method, Python would raise another error first."""
