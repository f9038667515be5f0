"""Runs several server processes on one port, which share a Redis: starts, restarts and drains them."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Final, NoReturn

from threadchat.cli.output import unblocked, unblocked_stderr
from threadchat.cli.parser import EXIT_USAGE
from threadchat.cli.serve import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    REQUESTS,
    STOPS,
    announce,
    browsable,
    complain,
    has_terminal,
    heeded,
    last_resort,
    serve,
    why_not_listening,
)
from threadchat.cli.worker_processes import WorkerProcesses
from threadchat.errors import ConfigError
from threadchat.logs.format import configure_logging
from threadchat.server.http.listener import bind, reserve

if TYPE_CHECKING:
    from threadchat.config.settings import Config

log = logging.getLogger(__name__)

GRACE: Final = 5.0
"""Seconds after `drain_timeout` at which workers that still run are killed."""

SIGNALS: Final = (*STOPS, *REQUESTS, signal.SIGCHLD)


def serve_with_workers(config: Config) -> int:
    """Runs `workers` servers on one port until SIGINT or SIGTERM and returns the exit code, as `serve` does.

    Raises ConfigError if this system does not distribute connections over processes that share a port. Runs
    on: the main thread. Because it forks, no other thread may run except the one that writes to stderr.
    """
    if sys.platform != "linux":
        raise ConfigError(
            f"workers={config.workers}: only Linux distributes connections over processes that share a port; "
            "on this system, run each server on a port of its own, behind nginx"
        )
    with unblocked_stderr():
        return _supervise(config)


def _supervise(config: Config) -> int:
    configure_logging(config.log_level, config.log_format)
    try:
        with bind(config.host, config.port) as probe:  # `reserve` alone would share another program's port
            port = probe.getsockname()[1]
        reserved = reserve(config.host, port)
    except (OSError, UnicodeError) as error:
        return complain(why_not_listening(config, error))
    with reserved, last_resort(), Wakeups() as wakeups:
        return Supervisor(replace(config, port=port), wakeups).run()


class Supervisor:
    """The parent process of the workers. Runs on: the main thread."""

    def __init__(self, config: Config, wakeups: Wakeups) -> None:
        self._config = config
        self._wakeups = wakeups
        self._workers = WorkerProcesses(config.workers, self._fork)
        self._told_to_stop = False
        self._at_terminal = has_terminal()

    def run(self) -> int:
        """Starts the workers, keeps them running, and stops them; returns the exit code."""
        if not self._start() and not self._told_to_stop:
            self._end()
            return next((code for code in self._workers.codes if code > 0), EXIT_FAILED)
        if not self._told_to_stop:
            scheme = "https" if self._config.tls_cert else "http"
            announce(browsable(self._config.host, f"{scheme}://{self._config.host}:{self._config.port}/"))
            self._look_after()
        return self._end()

    def _start(self) -> bool:
        """Starts all workers; returns whether all of them listen. One that fails has printed the reason."""
        listening = 0
        while listening < self._config.workers and not self._told_to_stop:
            self._workers.start_due()
            listening += self._wait(None).count(OPEN)
            if self._workers.collect_ended():
                return False
        return True

    def _look_after(self) -> None:
        while not self._told_to_stop:
            self._wait(self._workers.start_due())
            self._workers.collect_ended()

    def _wait(self, timeout: float | None) -> bytes:
        wakeups = self._wakeups.wait(timeout)
        for number in map(signal.Signals, set(wakeups) - {OPEN}):
            if number in STOPS or (number == signal.SIGHUP and self._at_terminal and not has_terminal()):
                log.info("stopping %d workers: %s", self._config.workers, number.name)
                self._told_to_stop = True
            elif number in REQUESTS:
                self._workers.signal(number)
        return wakeups

    def _end(self) -> int:
        """Lets all workers drain; returns the exit code."""
        self._workers.stop(signal.SIGTERM)
        deadline = monotonic() + self._config.drain_timeout + GRACE
        while self._workers.running and monotonic() < deadline:
            interrupted = signal.SIGINT in self._wakeups.wait(max(0.0, deadline - monotonic()))
            self._workers.collect_ended()
            if interrupted and self._workers.running:  # a second Ctrl-C means: do not wait
                self._kill()
                return EXIT_INTERRUPTED
        if self._workers.running:
            complain(f"{len(self._workers.running)} workers did not end in time and will be killed")
            self._kill()
            return EXIT_FAILED
        # A worker that received the signal before it began to serve was ended by the signal itself.
        fine = {EXIT_OK, -signal.SIGTERM, -signal.SIGINT}
        return EXIT_OK if fine.issuperset(self._workers.codes) else EXIT_FAILED

    def _kill(self) -> None:
        self._workers.stop(signal.SIGKILL)
        while self._workers.running:
            self._workers.collect_ended()
            self._wakeups.wait(0.1)

    def _fork(self, number: int) -> int:
        """Starts a worker; returns its pid."""
        with _held_back(SIGNALS), warnings.catch_warnings():
            # Python warns about threads. The only other one writes to stderr, and its stream handles forks.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
            if pid == 0:
                self._wakeups.leave_to_parent()
        return pid or self._work(number)

    def _work(self, number: int) -> NoReturn:
        """Runs a worker and ends its process. Runs on: the worker's main thread."""
        code = EXIT_FAILED
        try:
            threading.Thread(target=self._wakeups.end_with_parent, name="lifeline", daemon=True).start()
            config = on_a_core_of_its_own(self._config, number)
            code = serve(config, opened=lambda url: self._wakeups.tell_parent())
        except ConfigError as error:
            complain(str(error))
            code = EXIT_USAGE
        except BaseException:
            log.exception("worker %d failed", number)
        finally:
            with unblocked(sys.stderr):
                pass  # leaving the block waits until the log is written, or gives up if nobody reads it
            os._exit(code)


def on_a_core_of_its_own(config: Config, number: int) -> Config:
    """The settings of a worker, numbered from 1. By process id, two workers might get the same core."""
    if config.pin != "auto" or not hasattr(os, "sched_getaffinity"):
        return config
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return config  # on a free-threaded build, auto pins nothing
    cores = sorted(os.sched_getaffinity(0))
    return replace(config, pin=str(cores[(number - 1) % len(cores)]))


OPEN: Final = 0
"""A wake-up that is not a signal: a worker has begun to listen."""


class Wakeups:
    """Wakes the supervisor through a pipe, on signals and when a worker begins to listen.

    A second pipe leads to the workers. Nothing is ever written to it: a worker reads its end when the
    supervisor is gone.
    """

    def __enter__(self) -> Wakeups:
        self._heard, self._told = os.pipe()
        self._lifeline, self._held = os.pipe()
        for end in (self._heard, self._told):
            os.set_blocking(end, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._heard, selectors.EVENT_READ)
        # Ignored signals stay ignored, except SIGCHLD: a process that ignores it cannot wait for children.
        numbers = (*heeded(*STOPS, *REQUESTS), signal.SIGCHLD)
        self._former = {number: signal.signal(number, _note) for number in numbers}
        self._former_wakeup = signal.set_wakeup_fd(self._told)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._former_wakeup)
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._selector.close()
        for end in (self._heard, self._told, self._lifeline, self._held):
            os.close(end)

    def wait(self, timeout: float | None) -> bytes:
        """Waits for wake-ups, which are signal numbers or OPEN; empty after a timeout."""
        return os.read(self._heard, 4096) if self._selector.select(timeout) else b""

    # In a worker

    def leave_to_parent(self) -> None:
        """Releases what only the supervisor uses. Until the worker serves, `REQUESTS` do nothing."""
        signal.set_wakeup_fd(-1)
        # SIGTERM even if the supervisor ignores it, because it stops its workers with SIGTERM.
        for number in ({*self._former} - REQUESTS) | {signal.SIGTERM}:
            signal.signal(number, signal.SIG_DFL)
        self._selector.close()
        os.close(self._heard)
        os.close(self._held)

    def tell_parent(self) -> None:
        """Reports that this worker listens."""
        os.write(self._told, bytes([OPEN]))

    def end_with_parent(self) -> None:
        """Stops this process with SIGTERM once the supervisor is gone. Runs on: the lifeline thread."""
        os.read(self._lifeline, 1)
        os.kill(os.getpid(), signal.SIGTERM)


def _note(number: int, frame: object) -> None:
    """Does nothing: Python has already written the signal's number into the pipe."""


@contextlib.contextmanager
def _held_back(numbers: tuple[signal.Signals, ...]) -> Iterator[None]:
    former = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
