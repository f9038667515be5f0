"""Checks what an application hands in to be called: when it is set, and what a call of it returned."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any, Final

from threadchat.errors import ConfigError

_DO_INSTEAD: Final = "nothing here awaits it; write it with def, it runs on a thread that may block"


def check_callback(name: str, function: Any, arguments: Sequence[str] | None = None) -> None:
    """Raises ConfigError for what cannot be called with those arguments, by position.

    Where `arguments` is None any signature will do. An `async def` is refused: its call returns a coroutine,
    which is true and which nothing runs. So is a generator function, whose body would not run either. A
    signature that Python cannot tell passes. Runs on: any thread.
    """
    if not callable(function):
        raise ConfigError(f"{name}={function!r:.60} cannot be called; give a function")
    kind = _kind(function)
    if kind is not None:
        raise ConfigError(f"{name}: {_called(function)} is {kind}: {_DO_INSTEAD}")
    if arguments is None:
        return
    try:
        # A decorator may well pass other arguments on than it takes.
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        wanted = f"{name}({', '.join(arguments)})"
        raise ConfigError(
            f"{name}: {_called(function)}{signature} cannot be called as {wanted}: {error}"
        ) from None


def is_unrun(answer: object) -> bool:
    """Whether a call returned a coroutine or a generator instead of doing its work.

    A coroutine is closed, so that Python does not warn of it as well. An object that only could be awaited
    passes: werkzeug's LocalProxy is one, whatever it stands for. Runs on: any thread.
    """
    if inspect.iscoroutine(answer):
        answer.close()
        return True
    return inspect.isasyncgen(answer) or inspect.isgenerator(answer)


def _kind(function: Any) -> str | None:
    """What is wrong with a callable whose call does nothing by itself; None for all others."""
    while isinstance(function, functools.partial):
        function = function.func
    for candidate in (function, type(function).__call__):
        if inspect.iscoroutinefunction(candidate):
            return "async"
        if inspect.isasyncgenfunction(candidate):
            return "an async generator"
        if inspect.isgeneratorfunction(candidate):
            return "a generator (it has a yield in it)"
    return None


def _called(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__qualname__", type(function).__qualname__))
