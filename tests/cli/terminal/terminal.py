"""A program on a real pseudo-terminal: what is typed into it, and what it shows."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from types import TracebackType

from tests.e2e.process import command, environment

PATIENCE = 10.0  # seconds until something that is not shown fails its test
# Without this Ctrl-C would interrupt nobody, as a terminal's keys only do to those whose own it is.
OWN_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x1b\][^\x07]*\x07")


class Terminal:
    """`python -m threadchat` with some arguments on a terminal of 80 columns; a context manager."""

    def __init__(self, *arguments: str, environ: dict[str, str] | None = None) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        extra = {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", **(environ or {})}
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWN_TERMINAL, *command(*arguments)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(extra),
        )
        os.close(slave)
        self.raw = ""
        self._looked = 0

    def type(self, text: str) -> None:
        """Presses keys."""
        os.write(self._master, text.encode())

    def shows(self, text: str) -> str:
        """Waits until some text is shown after what was waited for last; returns all that came before it."""
        deadline = time.monotonic() + PATIENCE
        while (at := self.text.find(text, self._looked)) < 0:
            assert self._read(deadline - time.monotonic()), f"not shown: {text!r}; but: {self.text!r}"
        before = self.text[self._looked : at]
        self._looked = at + len(text)
        return before

    @property
    def text(self) -> str:
        """All that was shown so far, without escape sequences."""
        return _ESCAPES.sub("", self.raw)

    def leave(self) -> int:
        """Presses Ctrl-D until the program has ended; one that comes while it prints is not seen by it."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"does not end: {self.text!r}"
            self.type("\x04")
            self._read(0.2)
        return self.process.returncode

    def exit_code(self) -> int:
        """Waits for the end of the program."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline - time.monotonic()):
            pass
        return self.process.wait(PATIENCE)

    def _read(self, timeout: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, timeout))
        if not ready:
            return False
        with contextlib.suppress(OSError):  # the other end is closed
            data = os.read(self._master, 65536)
            self.raw += data.decode(errors="replace")
            return bool(data)
        return False

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)
