"""Describes every thread of the process: its role, the connection that it serves, and its stack."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FrameType
from typing import Final

from threadchat.logs.format import number_of
from threadchat.wire.connection import Connection

log = logging.getLogger(__name__)

DEEPEST: Final = 60
"""Innermost frames of a stack that are compared."""
SHOWN_FRAMES: Final = 8
SHOWN_THREADS: Final = 10
SHOWN_PLACES: Final = 200

_ROLE: Final = re.compile(r"[-:]\d.*|$", re.DOTALL)

Stack = tuple[tuple[CodeType, int], ...]


def role_of(thread_name: str) -> str:
    """The role of a thread with this name: `reader` for reader-17."""
    return _ROLE.sub("", thread_name, count=1)


def log_threads(connections: Iterable[Connection]) -> None:
    """Logs the stacks of all threads, at a level that is not filtered out. Runs on: any thread."""
    level = max(logging.INFO, log.getEffectiveLevel())
    for line in describe_threads(connections):
        log.log(level, "%s", line)


def describe_threads(connections: Iterable[Connection]) -> Iterator[str]:
    """Yields a summary line, then one line for each stack that threads of one role share, most threads first.

    Thousands of threads with the same stack take one line, which names a few of them: those with the fullest
    outboxes first. Frames are listed innermost first.
    """
    by_number = {connection.number: connection for connection in connections}
    places = _places(threading.enumerate(), sys._current_frames())
    threads = sum(map(len, places.values()))
    yield f"threads: {threads} in {len(places)} places; connections: {len(by_number)}"
    ordered = sorted(places.items(), key=lambda place: -len(place[1]))
    for (role, stack), names in ordered[:SHOWN_PLACES]:
        yield f"{role}: {len(names)} at {_shown_stack(stack)}: {_shown_threads(names, by_number)}"
    if len(ordered) > SHOWN_PLACES:
        yield f"and {len(ordered) - SHOWN_PLACES} more places, with fewer threads each"


def _places(
    threads: Iterable[threading.Thread], frames: Mapping[int, FrameType]
) -> dict[tuple[str, Stack], list[str]]:
    """The names of the threads of each role and stack."""
    names = {thread.ident: thread.name for thread in threads}
    places: dict[tuple[str, Stack], list[str]] = {}
    for ident, frame in frames.items():
        name = names.get(ident, "unknown")  # a thread that Python did not start
        places.setdefault((role_of(name), _stack(frame)), []).append(name)
    return places


def _stack(frame: FrameType | None) -> Stack:
    stack: list[tuple[CodeType, int]] = []
    while frame is not None and len(stack) < DEEPEST:
        stack.append((frame.f_code, frame.f_lineno or 0))
        frame = frame.f_back
    return tuple(stack)


def _shown_stack(stack: Stack) -> str:
    shown = [
        f"{os.path.basename(code.co_filename)}:{line} {code.co_name}" for code, line in stack[:SHOWN_FRAMES]
    ]
    return " < ".join([*shown, "..."] if len(stack) > SHOWN_FRAMES else shown)


def _shown_threads(names: list[str], by_number: Mapping[int, Connection]) -> str:
    found = [(name, by_number.get(-1 if (number := number_of(name)) is None else number)) for name in names]
    found.sort(key=lambda each: -1 if each[1] is None else each[1].outbox.qsize(), reverse=True)
    shown = [name if whose is None else f"{name} {whose!r}" for name, whose in found[:SHOWN_THREADS]]
    more = len(found) - len(shown)
    return ", ".join([*shown, f"and {more} more"] if more else shown)
