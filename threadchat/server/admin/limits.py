"""The limits of a node that can be reached, each beside its use."""

from __future__ import annotations

from typing import Any

from threadchat.chat.hub import Hub
from threadchat.chat.memory_budget import weight_of
from threadchat.config.settings import Config
from threadchat.server.admin.process import descriptors
from threadchat.server.admin.snapshot import Snapshot
from threadchat.wire.unfinished import UnfinishedBudget


class LimitUse:
    """Reads how much of each limit is in use. May be called on any thread."""

    def __init__(self, config: Config, hub: Hub, unfinished: UnfinishedBudget) -> None:
        self._config = config
        self._hub = hub
        self._unfinished = unfinished

    def read(self, seen: Snapshot) -> list[dict[str, Any]]:
        """The limits: `name`, `used` and `limit`, and `unit`, which is bytes or empty.

        A name is that of the setting, or `descriptors`. Limits that are not set are left out.
        """
        config = self._config
        logs = sum([weight_of(room) for room in self._hub.rooms()])
        use = [
            ("max_connections", seen.connections, config.max_connections, ""),
            ("descriptors", *(descriptors() or (0, 0)), ""),
            ("max_rooms", seen.rooms, config.max_rooms, ""),
            ("queued_bytes", seen.queued_bytes, config.queued_bytes, "bytes"),
            ("unfinished_bytes", self._unfinished.total, config.unfinished_bytes, "bytes"),
            ("logs_bytes", logs, config.logs_bytes, "bytes"),
        ]
        return [
            {"name": name, "used": used, "limit": limit, "unit": unit}
            for name, used, limit, unit in use
            if limit
        ]
