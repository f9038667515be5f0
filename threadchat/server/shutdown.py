"""Closes the chats of a process with the process, however it ends, short of a signal that kills it.

And leaves what is in use to that process alone, where it forks others.
"""

from __future__ import annotations

import atexit
import logging
import os
from typing import Protocol
from weakref import WeakKeyDictionary

log = logging.getLogger(__name__)


class Closable(Protocol):
    """What has somebody to say goodbye to."""

    def close(self) -> object:
        """Ends it; may take a few seconds."""

    def leave_behind(self) -> None:
        """Lets go of what is the parent's, in a process that was just forked; never blocks."""


_in_use: WeakKeyDictionary[Closable, int] = WeakKeyDictionary()  # with the process that uses each


def close_at_exit(chat: Closable) -> None:
    """Closes `chat` when this process ends, unless `forget` is called before. Runs on: any thread.

    A worker of gunicorn that is stopped, or recycled after `max_requests`, comes by here once it has
    answered its requests; its daemon threads still run then.
    """
    _in_use[chat] = os.getpid()


def forget(chat: Closable) -> None:
    """Takes it back, if it was said. Runs on: any thread."""
    _in_use.pop(chat, None)


@atexit.register
def close_all() -> None:
    """Runs on: the main thread, at the end of the process."""
    for chat, process in list(_in_use.items()):
        if process == os.getpid():  # the end of a forked process is not the end of its parent's sockets
            try:
                chat.close()
            except Exception:
                log.exception("%r could not be closed", chat)


def leave_all_behind() -> None:
    """Runs on: the only thread of a forked process, first."""
    for chat in list(_in_use):
        chat.leave_behind()


os.register_at_fork(after_in_child=leave_all_behind)
