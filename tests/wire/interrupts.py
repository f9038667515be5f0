"""An exception from a signal handler, at each point where one may come, one after the other."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


class Interrupted(BaseException):
    """What the handler raises; nobody is prepared for just this one."""


class Interruption:
    """Raises Interrupted once, at the `at`-th point of what runs in these files on this thread.

    Points are the begin of each call, of each line, and the end of each call. The lines of `with` are none:
    between the last check for signals in its body and the lock's release, CPython looks for none.
    """

    def __init__(self, at: int, files: tuple[str, ...]) -> None:
        self.happened = ""
        self._left = at
        self._files = files

    def __enter__(self) -> Interruption:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.endswith(self._files):
            return None
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        if event in ("call", "line", "return") and not (event == "line" and line.startswith("with ")):
            self._left -= 1
            if self._left < 0 and not self.happened:
                self.happened = f"{event} {frame.f_code.co_name}: {line}"
                raise Interrupted
        return self._trace


def interrupted_everywhere(
    prepare: Callable[[], tuple[Callable[[], object], Callable[[str], None]]], *files: str
) -> Iterator[str]:
    """Runs an action, each time made anew by `prepare`, with an interrupt at the first point, the second...

    `prepare` returns the action, and what checks afterwards that nothing is broken, which is given the place.
    """
    at = 0
    while True:
        action, check = prepare()
        interruption = Interruption(at, files)
        try:
            with interruption:
                action()
        except Interrupted:
            pass
        check(interruption.happened)
        if not interruption.happened:
            return
        yield interruption.happened
        at += 1
