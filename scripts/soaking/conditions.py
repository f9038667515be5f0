"""The conditions of a soak: TLS, compression, tokens, moderators, pauses, a Redis that loses data."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from random import Random
from typing import Final

from tests.broker.redis_server import RedisServer, why_not
from threadchat.config.settings import Config
from threadchat.server.auth.tokens import sign

CONDITIONS: Final = {
    "tls": "all connections are encrypted",
    "compression": "half of them are compressed",
    "tokens": "a third of the people have a token, and always keep their user id",
    "moderation": "some people with a token mute and kick others and delete messages",
    "pauses": "the server is stopped for a moment (SIGSTOP), as a suspended machine is",
    "redis": "the log is in a Redis that is killed and restarted without its last second",
}
KEY: Final = "0123456789abcdef" * 4
FIRST_KNOWN: Final = 1_000_000
"""User id of the first person who has a token; the others are anonymous."""
PAUSE: Final = (0.2, 2.5)
"""Seconds for which the server is stopped."""
FORGOTTEN: Final = 1.0
"""Seconds of data that Redis loses."""


class Conditions:
    """The conditions of one soak, and its disturbances. Used on the driver's thread."""

    def __init__(self, names: Collection[str], folder: Path, random: Random, every: float) -> None:
        """`every` is the time between two disturbances, in seconds on average."""
        self._names = frozenset(names)
        self._folder = folder
        self._random = random
        self._every = every
        self._due: list[tuple[float, Callable[[], None]]] = []
        self.pid = 0
        self.tls: ssl.SSLContext | None = None
        self.arguments: list[str] = []
        self._redis: RedisServer | None = None
        self._config = Config(token_key=KEY)
        if "tls" in names:
            self._make_certificate()
        if "compression" in names:
            self.arguments += ["--compression", "yes"]
        if "tokens" in names:
            self.arguments += ["--token-key", KEY, "--anonymous", "yes"]
        if "redis" in names:
            self._redis = RedisServer(folder / "redis", lasting=False)
            self.arguments += ["--broker", self._redis.url]

    def close(self) -> None:
        """Ends the processes that were started."""
        if self._redis is not None:
            self._redis.kill()

    # For people

    @property
    def forgets(self) -> bool:
        """Whether the broker may be unavailable, and lose data that it had acknowledged."""
        return self._redis is not None

    def compressed(self) -> bool:
        """Whether to compress a new connection."""
        return "compression" in self._names and self._random.random() < 0.5

    def user_of(self, number: int) -> int:
        """The user id of the person with this number; 0 if they are anonymous."""
        return FIRST_KNOWN + number if "tokens" in self._names and number % 3 == 0 else 0

    def moderates(self, number: int) -> bool:
        """Whether this person may mute, kick and delete everywhere."""
        return "moderation" in self._names and number % 9 == 0 and self.user_of(number) > 0

    def token_of(self, number: int) -> str:
        """A token for this person."""
        letters = "rwmd" if self.moderates(number) else "rwd"
        return sign(self._config, self.user_of(number), rooms={"*": letters})

    # Disturbances

    def begin(self, pid: int, now: float) -> None:
        """Starts disturbances of the server with this pid."""
        self.pid = pid
        for name, disturb in (("pauses", self._pause), ("redis", self._save)):
            if name in self._names:
                self._plan(now, disturb)

    def look(self, now: float) -> str:
        """Makes the disturbances that are due; returns their names."""
        due = [disturb for when, disturb in self._due if when <= now]
        self._due = [each for each in self._due if each[0] > now]
        for disturb in due:
            disturb()
            if disturb == self._save:
                self._due.append((now + FORGOTTEN, self._kill))
            else:
                self._plan(now, self._save if disturb == self._kill else disturb)
        return ", ".join(disturb.__name__.strip("_") for disturb in due)

    def _plan(self, now: float, disturb: Callable[[], None]) -> None:
        self._due.append((now + self._random.uniform(0.5, 1.5) * self._every, disturb))

    def _pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        # On a thread, because the driver may be waiting for a handshake.
        threading.Timer(self._random.uniform(*PAUSE), os.kill, (self.pid, signal.SIGCONT)).start()

    def _save(self) -> None:
        assert self._redis is not None
        with self._redis.client() as client:
            client.save()

    def _kill(self) -> None:
        assert self._redis is not None
        self._redis.kill()
        self._redis.start()

    def _make_certificate(self) -> None:
        chain, key = self._folder / "chain.pem", self._folder / "key.pem"
        options = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
        names = "-addext subjectAltName=IP:127.0.0.1"
        command = [
            "openssl",
            "req",
            *options.split(),
            *names.split(),
            "-out",
            str(chain),
            "-keyout",
            str(key),
        ]
        subprocess.run(command, check=True, capture_output=True)
        self.tls = ssl.create_default_context(cafile=str(chain))
        self.arguments += ["--tls-cert", str(chain), "--tls-key", str(key)]


def possible() -> list[str]:
    """The conditions that this machine supports."""
    missing = {"tls"} if shutil.which("openssl") is None else set()
    missing |= {"redis"} if why_not() else set()
    return [name for name in CONDITIONS if name not in missing]
