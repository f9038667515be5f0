"""Notices a program that publishes where nobody can ever listen: in memory, with no way in."""

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
    "let it listen so far, and with broker=memory no other process hears it; give them all "
    "broker=redis://..., or publish with a Publisher or the HTTP API"
)
_DROPPED: Final = (
    "something was published in a chat that nobody can listen to: what mount() returned is gone; it has to "
    "take the application's place, as in app.wsgi_app = chat.mount(app.wsgi_app)"
)


class ListeningCheck:
    """Looks once, with the first publication. Every method may be called from any thread."""

    def __init__(self, hub: Hub, config: Config) -> None:
        self._hub = hub
        self._alone = config.broker == "memory" and not config.event_log
        self._mounts: list[weakref.ref[Mount]] = []
        self._settled = False  # nothing is left to be looked at

    def may_come(self, mount: Mount | None = None) -> None:
        """Notes a way in: a mount, or (None) a port."""
        if mount is None:
            self._settled = True
        else:
            self._mounts.append(weakref.ref(mount))

    def check(self) -> None:
        """Warns where nobody listens and nobody can come."""
        if self._settled:
            return
        self._settled = True
        dropped = bool(self._mounts) and all(mount() is None for mount in self._mounts)
        if dropped:
            log.warning(_DROPPED)
        elif self._alone and not self._mounts and not self._hub.is_heard():
            log.warning(_NO_WAY_IN)
