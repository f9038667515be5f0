"""A Redis that belongs to one supervisor and its workers: a private socket, no TCP port, nothing on disk."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib.util
import os
import shutil
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import quote

from threadchat.errors import ConfigError

EXECUTABLES: Final = ("redis-server", "valkey-server")
FOLDER: Final = "threadchat-workers-"
UNFINISHED: Final = ".threadchat-workers-"
"""A folder has this prefix until its lock is held, so that no other supervisor takes it for a stale one."""
LONGEST_PATH: Final = 107
"""Bytes in the path of a Unix socket on Linux."""
PATIENCE: Final = 1.0
"""Seconds to wait for an answer on the socket."""
LAST_LINES: Final = 3
PR_SET_PDEATHSIG: Final = 1
"""The number of this option in Linux (prctl(2))."""


class PrivateRedis:
    """A redis-server or valkey-server for the workers of one supervisor. Runs on: the main thread.

    Only this user can reach it, through a socket in a folder with mode 0700. It keeps everything in memory,
    as the memory broker does. The kernel kills it when the supervisor ends, however that ends.
    """

    def __init__(self, executable: str, folder: Path) -> None:
        self._executable = executable
        self._folder = folder
        self._log = folder / "redis.log"
        self._socket = folder / "redis.sock"
        self._supervisor = os.getpid()

    @property
    def url(self) -> str:
        """The value of the `broker` setting for the workers."""
        return f"unix://{quote(str(self._socket))}"

    def answers(self) -> bool:
        """Whether it accepts commands."""
        return _ask(self._socket, b"PING\r\n").startswith(b"+PONG")

    def last_words(self) -> str:
        """Explains why it ended: the end of its log, in one line."""
        with contextlib.suppress(OSError):
            lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines()]
            if said := "; ".join([line for line in lines if line][-LAST_LINES:]):
                return f"{self._executable} did not start: {said}"
        return f"{self._executable} did not start"

    def become(self) -> NoReturn:
        """Turns this process, a fork of the supervisor, into the Redis."""
        try:
            os.setsid()  # so that Ctrl-C in the terminal lets the workers drain while Redis still runs
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
            if os.getppid() == self._supervisor:  # otherwise it ended before prctl was called
                log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(log, 1)
                os.dup2(log, 2)
                os.execv(self._executable, [self._executable, *self._options()])
        finally:
            os._exit(127)  # what shells report for a program that cannot be run

    def end_with_supervisor(self) -> None:
        """Removes what a supervisor that was killed left behind. Runs on: a worker, when it ends."""
        if os.getppid() != self._supervisor:
            _remove(self._folder)

    def _options(self) -> Iterator[str]:
        yield from ("--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700")
        yield from ("--save", "", "--appendonly", "no", "--dir", str(self._folder))
        yield from ("--daemonize", "no", "--databases", "1", "--loglevel", "warning")


@contextlib.contextmanager
def private_redis() -> Iterator[PrivateRedis]:
    """Prepares a Redis, which `become` runs, and removes its folder at the end.

    Folders of supervisors that were killed are removed first. Raises ConfigError if no Redis is installed,
    and OSError if no folder can be created.
    """
    executable = _find_executable()
    base = Path(tempfile.gettempdir())
    if len(os.fsencode(base)) + len(FOLDER) + len("12345678/redis.sock") > LONGEST_PATH:
        base = Path("/tmp")
    _sweep(base)
    folder, lock = _create(base)
    try:
        yield PrivateRedis(executable, folder)
    finally:
        _remove(folder)
        os.close(lock)


def _find_executable() -> str:
    if importlib.util.find_spec("redis") is None:
        raise ConfigError(
            "workers above 1 share rooms through Redis, which needs redis-py: pip install 'threadchat[redis]'"
        )
    path = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin{os.pathsep}/usr/local/bin"
    for name in EXECUTABLES:
        if found := shutil.which(name, path=path):
            return os.path.abspath(found)
    raise ConfigError(
        "workers above 1 share rooms through a Redis that they start, but neither redis-server nor "
        "valkey-server is installed; install one (apt-get install redis-server), or set broker to a Redis "
        "that runs, such as redis://127.0.0.1:6379/0"
    )


def _create(base: Path) -> tuple[Path, int]:
    """Creates a folder; returns it with the descriptor that holds its lock.

    The workers inherit the descriptor, so the folder is not stale before the last of them has ended too.
    """
    created = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=base))
    lock = os.open(created / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return created.rename(base / created.name.replace(UNFINISHED, FOLDER, 1)), lock


def _sweep(base: Path) -> None:
    """Removes this user's folders whose supervisor and workers have ended, and ends a Redis that is left."""
    for folder in base.glob(f"{FOLDER}*"):
        with contextlib.suppress(OSError):  # somebody else's, or removed at this moment
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                continue
            lock = os.open(folder / "lock", os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)
            finally:
                os.close(lock)


def _remove(folder: Path) -> None:
    _ask(folder / "redis.sock", b"SHUTDOWN NOSAVE\r\n")
    shutil.rmtree(folder, ignore_errors=True)


def _ask(path: Path, command: bytes) -> bytes:
    """The first bytes of an answer; empty if nobody answers."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        try:
            sock.connect(str(path))
            sock.sendall(command)
            return sock.recv(64)
        except OSError:
            return b""
