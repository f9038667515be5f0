"""Closes the chats of a process when the process ends, unless a signal kills it.

A chat that a process uses is also left to that process when it forks.
"""

from __future__ import annotations

import atexit
import logging
import os
from typing import Protocol
from weakref import WeakKeyDictionary

log = logging.getLogger(__name__)


class Closable(Protocol):
    """What is closed with the process."""

    def close(self) -> object:
        """Closes it; may take a few seconds."""

    def leave_behind(self) -> None:
        """Drops what belongs to the parent, in a process that was just forked; never blocks."""


_in_use: WeakKeyDictionary[Closable, int] = WeakKeyDictionary()  # with the id of the process that uses it


def close_at_exit(chat: Closable) -> None:
    """Closes `chat` when this process ends, unless `forget` is called before. Runs on: any thread.

    This includes a gunicorn worker that is stopped, or restarted after `max_requests`. It has answered its
    requests by then, and its daemon threads still run.
    """
    _in_use[chat] = os.getpid()


def forget(chat: Closable) -> None:
    """Undoes `close_at_exit`, if it was called. Runs on: any thread."""
    _in_use.pop(chat, None)


@atexit.register
def close_all() -> None:
    """Runs on: the main thread, at the end of the process."""
    for chat, process in list(_in_use.items()):
        if process == os.getpid():  # a forked process must not close its parent's sockets
            try:
                chat.close()
            except Exception:
                log.exception("%r could not be closed", chat)


def leave_all_behind() -> None:
    """Runs on: the only thread of a forked process, first."""
    for chat in list(_in_use):
        chat.leave_behind()


os.register_at_fork(after_in_child=leave_all_behind)
