"""Resets objects with locks and threads in a forked process, which has only one thread."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """An object that belongs to the process that made it."""

    def leave_behind(self) -> None:
        """Resets the object and drops what belongs to the parent.

        Must not block or acquire a lock, since a thread that does not exist here may hold it. Runs on: the
        only thread of a forked process, before anything else.
        """


_known: WeakSet[Forked] = WeakSet()
_first: WeakSet[Forked] = WeakSet()


def begin_anew_after_fork(thing: Forked, *, first: bool = False) -> None:
    """Has `thing.leave_behind` called in each forked process. Keeps only a weak reference to `thing`.

    With `first`, it is called before that of all others, which may use `thing` when they start from scratch.
    """
    (_first if first else _known).add(thing)


def _leave_all_behind() -> None:
    for thing in [*_first, *_known]:
        thing.leave_behind()


os.register_at_fork(after_in_child=_leave_all_behind)
