"""What a forked process begins anew: what has locks, which other threads may have held, and threads."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """Whatever belongs to the process that made it."""

    def leave_behind(self) -> None:
        """Begins anew, and lets go of what is the parent's; never blocks, and acquires no lock.

        Runs on: the only thread of a forked process, first.
        """


_known: WeakSet[Forked] = WeakSet()


def begin_anew_after_fork(thing: Forked) -> None:
    """Has `thing.leave_behind` called in each process that is forked, as long as `thing` is in use."""
    _known.add(thing)


def _leave_all_behind() -> None:
    for thing in list(_known):
        thing.leave_behind()


os.register_at_fork(after_in_child=_leave_all_behind)
