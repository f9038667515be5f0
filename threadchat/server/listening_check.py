"""Warns a program that publishes in a chat that no client can reach."""

from __future__ import annotations

import logging
import weakref
from typing import Final

from threadchat.chat.hub import Hub
from threadchat.config.settings import Config
from threadchat.server.mount import Mount

log = logging.getLogger(__name__)

_NO_WAY_IN: Final = (
    "something was published in a chat that nobody can listen to: this process has neither mounted it nor "
    "called listen, and with broker=memory no other process receives it; use broker=redis://... in all "
    "processes, or publish with a Publisher or the HTTP API"
)
_DROPPED: Final = (
    "something was published in a chat that nobody can listen to: the application that mount() returned is "
    "gone; use it in place of yours, as in app.wsgi_app = chat.mount(app.wsgi_app)"
)


class ListeningCheck:
    """Checks once, at the first publication. Every method may be called from any thread."""

    def __init__(self, hub: Hub, config: Config) -> None:
        self._hub = hub
        self._alone = config.broker == "memory" and not config.event_log
        self._mounts: list[weakref.ref[Mount]] = []
        self._done = False

    def note_entry(self, mount: Mount | None = None) -> None:
        """Notes that clients can connect: through a mount or, with None, through a port."""
        if mount is None:
            self._done = True
        else:
            self._mounts.append(weakref.ref(mount))

    def check(self) -> None:
        """Logs a warning if nobody listens and no client can connect."""
        if self._done:
            return
        self._done = True
        dropped = bool(self._mounts) and all(mount() is None for mount in self._mounts)
        if dropped:
            log.warning(_DROPPED)
        elif self._alone and not self._mounts and not self._hub.has_subscribers():
            log.warning(_NO_WAY_IN)
