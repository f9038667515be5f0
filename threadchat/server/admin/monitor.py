"""Watches a chat for /ops: samples of the last hour, what other nodes report, and the log's last lines."""

from __future__ import annotations

import logging
import secrets
import threading
from typing import Final

import msgspec

from threadchat.config.settings import Config
from threadchat.logs.ring import LogRing
from threadchat.server.admin import node_report
from threadchat.server.admin.limits import LimitUse
from threadchat.server.admin.node_report import NodeReport
from threadchat.server.admin.sample_ring import SampleRing
from threadchat.server.admin.snapshot import Inspector, Snapshot
from threadchat.version import __version__
from threadchat.wire.pinger import Pinger
from threadchat.wire.threads.periodic import Periodic
from threadchat.wire.unfinished import UnfinishedBudget

EVERY: Final = 5.0
"""Seconds between two reports to other nodes."""
SAMPLED: Final = 15.0
"""Seconds between two samples that are kept: 240 points for an hour."""

_LOGGER: Final = logging.getLogger("threadchat")


class Monitor:
    """Samples a chat on the pinger's thread, once it is started.

    `_lock` guards `_started`, `_samples` and `_sampled_at`; it is a leaf.
    """

    def __init__(
        self,
        inspector: Inspector,
        config: Config,
        unfinished: UnfinishedBudget,
        pinger: Pinger,
    ) -> None:
        """Without an `api_key`, `start` does nothing."""
        self._inspector = inspector
        self._clock = pinger.clock
        self._wanted = bool(config.api_key)
        self._lock = threading.Lock()
        self._started = False
        self._samples = SampleRing()
        self._sampled_at = float("-inf")
        self._rounds = Periodic(self.look, pinger.call_later)
        self.process = secrets.token_hex(8)
        """A random id of this process."""
        self.limits = LimitUse(config, inspector.hub, unfinished)
        self.lines = LogRing()

    def start(self) -> None:
        """Begins to watch; a second call does nothing. Runs on: any thread."""
        with self._lock:
            if self._started or not self._wanted:
                return
            self._started = True
        _LOGGER.addHandler(self.lines)
        self._rounds.watch()

    def stop(self) -> None:
        """Keeps no more lines of the log. The samples end with the pinger. Runs on: any thread."""
        _LOGGER.removeHandler(self.lines)

    def leave_behind(self) -> None:
        """Starts anew in a forked process. Runs on: its only thread, first."""
        self._lock = threading.Lock()
        self._started = False
        self._samples = SampleRing()
        self._sampled_at = float("-inf")
        self._rounds.leave_behind()
        self.process = secrets.token_hex(8)
        self.lines.leave_behind()

    def look(self) -> float:
        """Reports to the other nodes, and keeps a sample if one is due.

        Returns the seconds until the next call. Runs on: the pinger's thread.
        """
        seen = self._inspector.glance()
        if seen is None:
            return EVERY
        nodes = self.nodes(seen)
        if (reports := self._inspector.reports) is not None:
            reports.own = node_report.encode(nodes[0])
        now = self._clock()
        with self._lock:
            if now >= self._sampled_at + SAMPLED - EVERY / 2:
                self._sampled_at = now
                self._samples.add(now, node_report.encode({"time": seen.time, "nodes": nodes}))
        return EVERY

    def nodes(self, seen: Snapshot) -> list[NodeReport]:
        """The reports of all nodes: first this one, then the newest report of each other node.

        Runs on: any thread.
        """
        own = node_report.make_report(
            seen, node=self._inspector.node, process=self.process, version=__version__
        )
        newest: dict[str, NodeReport] = {}
        reports = self._inspector.reports
        for encoded, age in reports.read() if reports is not None else ():
            other = node_report.decode(encoded)
            # A node that was taken for dead comes back under a new name, and for a moment has two reports.
            if other is not None and other.process != self.process:
                known = newest.get(other.process)
                if known is None or known.uptime < other.uptime:
                    newest[other.process] = msgspec.structs.replace(other, age=age)
        return [own, *sorted(newest.values(), key=lambda it: (it.node, it.process))]

    def samples(self) -> list[msgspec.Raw]:
        """The samples of the last hour in JSON, the oldest first. Runs on: any thread."""
        with self._lock:
            return [msgspec.Raw(sample) for sample in self._samples.read()]
