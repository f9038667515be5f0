"""The server that an abuse is done to, with the files and the Redis that its settings name."""

from __future__ import annotations

import contextlib
import signal
import tempfile
from pathlib import Path

from abusing.abuse import Abuse
from tests.broker.redis_server import RedisServer
from tests.e2e.process import ServerProcess


class AbusedServer(ServerProcess):
    """In the flags of an abuse, `{log}` stands for the path of the server's log, with which its files begin.

    `{redis}` stands for the URL of a Redis of its own, which ends with the server.
    """

    def __init__(self, log: Path, abuse: Abuse) -> None:
        self._ends = contextlib.ExitStack()
        self.redis = ""
        if any("{redis}" in flag for flag in abuse.flags):
            folder = self._ends.enter_context(tempfile.TemporaryDirectory())
            server = RedisServer(Path(folder), lasting=False)
            self._ends.callback(server.kill)
            self.redis = server.url
        flags = [flag.format(log=log, redis=self.redis) for flag in abuse.flags]
        super().__init__(log, *flags, descriptors=abuse.descriptors)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends the server, then its Redis; returns the exit code."""
        with self._ends:
            return super().stop(number)
