"""What a probe is, how its outcome is written down, and how two outcomes are compared."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from importlib import import_module
from typing import Any

Run = Callable[[Any], object]


@dataclass
class Probe:
    """One question: `run` is called with a library and returns, or raises, the answer."""

    name: str
    run: Run
    slow: bool = False


@dataclass
class Table:
    """The probes of one peer. `on_purpose`: names of probes, or their beginnings, and why ours differs."""

    peer: str
    ours: str
    least: int
    share: float
    probes: list[Probe] = field(default_factory=list)
    on_purpose: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, run: Run, *, slow: bool = False) -> None:
        """A probe; its name is unique."""
        assert all(probe.name != name for probe in self.probes), name
        self.probes.append(Probe(name, run, slow))

    def probe(self, name: str, *, slow: bool = False) -> Callable[[Run], Run]:
        """The same as a decorator."""

        def decorate(run: Run) -> Run:
            self.add(name, run, slow=slow)
            return run

        return decorate

    def each(self, name: str, cases: Iterable[Any], run: Callable[[Any, Any], object]) -> None:
        """A probe for each case; `name` has a place for it."""
        for case in cases:
            self.add(name.format(_short(case)), lambda library, case=case: run(library, case))

    def reason(self, name: str) -> str | None:
        """Why a probe may differ, if it may."""
        return next((why for known, why in self.on_purpose.items() if name.startswith(known)), None)


class Library:
    """A library by the names of its modules, which are imported when they are asked for."""

    def __init__(self, root: str) -> None:
        self.root = root

    def __getattr__(self, module: str) -> Any:
        return import_module(f"{self.root}.{module.replace('_', '.', 1)}")


def answer(probe: Probe, library: Any) -> object:
    """What a library answers, in plain values that can be compared."""
    result: list[object] = []

    def run() -> None:
        try:
            result.append(plain(probe.run(library)))
        except BaseException as error:
            result.append(plain(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    return result[0] if result else "no answer within 20 s"


def plain(value: object) -> object:  # noqa: PLR0911
    """A value without what is a library's own: types by name, exceptions by kind."""
    if isinstance(value, BaseException):
        return f"raises {kind(value)}"
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, dict):
        return {str(key): plain(it) for key, it in value.items()}
    if hasattr(value, "code") and hasattr(value, "reason") and not callable(value.code):
        return f"Close {int(value.code)} {value.reason}"
    if isinstance(value, list | tuple):
        return [plain(it) for it in value]
    if isinstance(value, bool | int | float | str | bytes | None):
        return value
    return type(value).__name__


def kind(error: BaseException) -> str:
    """The name that a program would catch: that of the exception, or of the system's below our own."""
    known = type(error)
    while known.__module__.startswith("threadchat") and not known.__module__.startswith(_SHAPES):
        known = next(base for base in known.__mro__[1:] if _may_be_caught(base))
    return known.__name__.removeprefix("Simple")


_SHAPES = ("threadchat.plain.websocket", "threadchat.wire.protocol.compatible")


def _may_be_caught(base: type) -> bool:
    if base.__module__.startswith("threadchat"):
        return base.__module__.startswith(_SHAPES)
    return base is not ConnectionError


def attempt(action: Callable[[], object]) -> object:
    """What it returns, or raises, as a value."""
    try:
        return plain(action())
    except Exception as error:
        return plain(error)


def _short(case: object) -> str:
    text = case[0] if isinstance(case, tuple) and case and isinstance(case[0], str) else case
    return str(text)
