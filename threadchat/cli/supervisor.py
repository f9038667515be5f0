"""Runs several server processes on one port, which share a Redis: starts, restarts and drains them all."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final, NoReturn

from threadchat.cli.output import unblocked, unblocked_stderr
from threadchat.cli.parser import EXIT_USAGE
from threadchat.cli.private_redis import PrivateRedis, private_redis
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
    last_resort,
    serve,
)
from threadchat.cli.wakeups import OPEN, Wakeups
from threadchat.cli.worker_processes import WorkerProcesses
from threadchat.errors import ConfigError
from threadchat.logs.format import configure_logging
from threadchat.server.http.listener import bind, reserve

if TYPE_CHECKING:
    from threadchat.config.settings import Config

log = logging.getLogger(__name__)

GRACE: Final = 5.0
"""Seconds after `drain_timeout` at which workers that still run are killed."""

STARTING: Final = 0.02
"""Seconds between two checks whether the workers' Redis answers."""

SIGNALS: Final = (*STOPS, *REQUESTS, signal.SIGCHLD)


def serve_with_workers(config: Config) -> int:
    """Runs `workers` servers on one port until SIGINT or SIGTERM and returns the exit code, as `serve` does.

    With the memory broker, they share a Redis that is started for them and ends with them. Raises ConfigError
    if none is installed, and if this system does not distribute connections over processes that share a port.
    Runs on: the main thread. Because it forks, no other thread may run except the one that writes to stderr.
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
    except OSError as error:
        return complain(error.strerror or str(error))
    config = replace(config, port=port)
    with reserved, last_resort(), Wakeups() as wakeups, contextlib.ExitStack() as stack:
        redis = None
        if config.broker == "memory":
            try:
                redis = stack.enter_context(private_redis())
            except OSError as error:
                return complain(f"no folder can be created for the workers' Redis: {error}")
            config = replace(config, broker=redis.url)
        return Supervisor(config, wakeups, redis).run()


class Supervisor:
    """The parent process of the workers. Runs on: the main thread."""

    def __init__(self, config: Config, wakeups: Wakeups, redis: PrivateRedis | None = None) -> None:
        """`redis` is the one to run for the workers; without it, `config` names one that runs."""
        self._config = config
        self._wakeups = wakeups
        self._redis = redis
        self._workers = WorkerProcesses(config.workers, partial(self._fork, self._work))
        self._stores = WorkerProcesses(
            0 if redis is None else 1, partial(self._fork, self._become_redis), name="redis"
        )
        self._told_to_stop = False
        self._at_terminal = has_terminal()

    def run(self) -> int:
        """Starts the workers, keeps them running, and stops them; returns the exit code."""
        try:
            return self._run()
        finally:
            self._kill(self._stores)

    def _run(self) -> int:
        if not (self._start_redis() and self._start()) and not self._told_to_stop:
            self._end()
            return next((code for code in self._workers.codes if code > 0), EXIT_FAILED)
        if not self._told_to_stop:
            scheme = "https" if self._config.tls_cert else "http"
            announce(browsable(self._config.host, f"{scheme}://{self._config.host}:{self._config.port}/"))
            self._look_after()
        return self._end()

    def _start_redis(self) -> bool:
        """Starts the workers' Redis, if they have one; returns whether it answers, or prints why not."""
        self._stores.start_due()
        while self._redis is not None and not self._redis.answers():
            self._wait(STARTING)
            if self._stores.collect_ended():
                complain(self._redis.last_words())
                return False
            if self._told_to_stop:
                return False
        return True

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
            due = self._stores.start_due(), self._workers.start_due()
            self._wait(min((seconds for seconds in due if seconds is not None), default=None))
            self._stores.collect_ended()
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
                self._kill(self._workers)
                return EXIT_INTERRUPTED
        if self._workers.running:
            complain(f"{len(self._workers.running)} workers did not end in time and will be killed")
            self._kill(self._workers)
            return EXIT_FAILED
        # A worker that received the signal before it began to serve was ended by the signal itself.
        fine = {EXIT_OK, -signal.SIGTERM, -signal.SIGINT}
        return EXIT_OK if fine.issuperset(self._workers.codes) else EXIT_FAILED

    def _kill(self, processes: WorkerProcesses) -> None:
        processes.stop(signal.SIGKILL)
        while processes.running:
            processes.collect_ended()
            self._wakeups.wait(0.1)

    def _fork(self, work: Callable[[int], NoReturn], number: int) -> int:
        """Calls `work` with the number in a new process; returns its pid."""
        with _held_back(SIGNALS), warnings.catch_warnings():
            # Python warns about threads. The only other one writes to stderr, and its stream handles forks.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
            if pid == 0:
                self._wakeups.leave_to_parent()
        return pid or work(number)

    def _become_redis(self, number: int) -> NoReturn:
        assert self._redis is not None
        self._redis.become()

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
            if self._redis is not None:
                self._redis.end_with_supervisor()
            os._exit(code)


def on_a_core_of_its_own(config: Config, number: int) -> Config:
    """The settings of a worker, numbered from 1. By process id, two workers might get the same core."""
    if config.pin != "auto" or not hasattr(os, "sched_getaffinity"):
        return config
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return config  # on a free-threaded build, auto pins nothing
    cores = sorted(os.sched_getaffinity(0))
    return replace(config, pin=str(cores[(number - 1) % len(cores)]))


@contextlib.contextmanager
def _held_back(numbers: tuple[signal.Signals, ...]) -> Iterator[None]:
    former = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
