"""Checks the callbacks of an application when they are set, and what they return when they are called."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any, Final

from threadchat.errors import ConfigError

_DO_INSTEAD: Final = "nothing awaits it; use a plain def, which may block its thread"


def check_callback(name: str, function: Any, arguments: Sequence[str] | None = None) -> None:
    """Raises ConfigError if `function` cannot be called with these positional arguments.

    If `arguments` is None, any signature is accepted. An `async def` is refused, because calling it only
    returns a coroutine, which is true and which nobody awaits. A generator function is refused, because its
    body would not run. A callable whose signature Python does not know is accepted. Runs on: any thread.
    """
    if not callable(function):
        raise ConfigError(f"{name}={function!r:.60} cannot be called; give a function")
    kind = _kind(function)
    if kind is not None:
        raise ConfigError(f"{name}: {_called(function)} is {kind}: {_DO_INSTEAD}")
    if arguments is None:
        return
    try:
        # A decorator may take other arguments than it passes on.
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

    Closes a coroutine, so that Python does not warn about it. Other awaitable objects are accepted, because
    werkzeug's LocalProxy is awaitable whatever it stands for. Runs on: any thread.
    """
    if inspect.iscoroutine(answer):
        answer.close()
        return True
    return inspect.isasyncgen(answer) or inspect.isgenerator(answer)


def _kind(function: Any) -> str | None:
    """What is wrong with a callable that does nothing when called. None for all others."""
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
