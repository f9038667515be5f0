"""Runs the stand-alone server: logging, process limits, signals, the startup line, and the exit code."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import logging
import os
import queue
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Final

from threadchat.cli.output import unblocked, unblocked_stderr
from threadchat.cli.thread_dump import log_threads
from threadchat.config.unused import UnusedSetting
from threadchat.errors import BrokerError
from threadchat.logs.format import configure_logging

if TYPE_CHECKING:
    from threadchat.config.settings import Config
    from threadchat.server.chat import Chat

log = logging.getLogger(__name__)

STACK_BYTES: Final = 1024 * 1024  # deeply nested JSON overflows a smaller stack; unused pages take no memory
SWITCH_INTERVAL: Final = 0.05
"""Seconds after which a thread that waits for the interpreter asks for it. With Python's default of 0.005, a
thousand waiting threads wake up 200,000 times a second for nothing; with 4,000 people talking at once, no
message got through. A thread releases the interpreter at each system call, so others wait this long only for
a thread that computes."""
COLLECT_AFTER: Final = (10_000, 50, 1000)
"""Thresholds of the garbage collector. With Python's defaults, a full collection ran every few seconds and
stopped a server of 1,000 connections for 45 to 145 ms. A closed connection leaves no reference cycles, so it
is freed without the collector."""
STOPS: Final = frozenset({signal.SIGINT, signal.SIGTERM})
REQUESTS: Final = frozenset({signal.SIGHUP, signal.SIGUSR1})
"""Signals that the server handles while it runs: SIGHUP reloads certificates, SIGUSR1 logs the threads."""
M_ARENA_MAX: Final = -8
"""The number of this option in glibc (mallopt(3))."""
EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130  # what shells report for a SIGINT


def announce(url: str) -> None:
    """Prints the startup line, for people and for programs that wait for it."""
    with unblocked(sys.stdout) as stdout:
        print(f"threadchat: open {url} in a browser (Ctrl-C stops)", file=stdout, flush=True)


def serve(config: Config, opened: Callable[[str], None] = announce) -> int:
    """Runs one chat server until SIGINT or SIGTERM and returns the exit code.

    The exit code is 0 if everything ended within `drain_timeout`, and 1 if the server could not start or
    something still runs. A second SIGINT ends the process at once with 130. On SIGHUP the server reads its
    certificate again, and on SIGUSR1 it logs what its threads do. Signals that were ignored before, as by
    `nohup`, stay ignored. `opened` is called once with the URL of the page. The server waits for the reader
    of stderr only at its end, for up to one second. Raises ConfigError. Runs on: the main thread.
    """
    at_terminal = has_terminal()  # checked first, because the terminal may be closed at any time
    with unblocked_stderr():
        return _serve(config, opened, at_terminal)


def _serve(config: Config, opened: Callable[[str], None], at_terminal: bool) -> int:
    configure_logging(config.log_level, config.log_format)
    raise_descriptor_limit()
    tune_interpreter()
    with _signals_to_queue() as arrived:
        # Imported after the stack size is set, in case an import ever starts threads.
        from threadchat.server.chat import Chat

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UnusedSetting)  # they have an effect here
                chat = Chat(config)
            configure_logging(config.log_level, config.log_format, chat.registry.connections)
        except BrokerError as error:
            return complain(f"broker {error}")
        except OSError as error:
            return complain(f"event log {config.event_log}: {error.strerror or error}")
        try:
            chat.listen(on_accept_thread=partial(prepare_thread, config.pin))
        except OSError as error:
            return complain(error.strerror or str(error))
        opened(browsable(config.host, chat.url))
        log.info("stopping: %s", _look_after(chat, arrived, at_terminal).name)
        if not chat.drain(config.drain_timeout):
            return complain(f"not everything ended within drain_timeout={config.drain_timeout:g} seconds")
    return EXIT_OK


def complain(message: str) -> int:
    """Prints an error on stderr; returns the exit code for a failure."""
    print(f"threadchat: {message}", file=sys.stderr, flush=True)
    return EXIT_FAILED


# -- address -----------------------------------------------------------------------------------------


def browsable(host: str, url: str) -> str:
    """The URL for a browser on this machine, for a server that listens on `host` and whose own URL is `url`.

    The wildcards 0.0.0.0 and :: become loopback addresses, and IPv6 addresses are put in brackets.
    """
    scheme, _, rest = url.partition("://")
    port = rest.rstrip("/").rpartition(":")[2]
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}/"


# -- signals -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _signals_to_queue() -> Iterator[queue.SimpleQueue[signal.Signals]]:
    """Signal handlers that only put the signal into a queue. The former handlers are restored at the end.

    Signals that are ignored stay ignored: the program that started this process decided so.

    SimpleQueue.put may interrupt SimpleQueue.get on the same thread. Event.set may not: it acquires a lock
    that the interrupted Event.wait may hold.
    """
    arrived: queue.SimpleQueue[signal.Signals] = queue.SimpleQueue()
    interrupts = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += number == signal.SIGINT
        if interrupts > 1:
            os._exit(EXIT_INTERRUPTED)  # a second Ctrl-C means: do not wait for connections to close
        arrived.put(signal.Signals(number))

    former = {number: signal.signal(number, note) for number in heeded(*STOPS, *REQUESTS)}
    with last_resort():
        try:
            yield arrived
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


def heeded(*numbers: signal.Signals) -> list[signal.Signals]:
    """Those of the signals that this process does not ignore."""
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


@contextlib.contextmanager
def last_resort() -> Iterator[None]:
    """Has SIGUSR2 print all stacks through faulthandler, which works even if no Python thread can run."""
    if signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN:
        yield
        return
    try:
        faulthandler.register(signal.SIGUSR2)
    except (AttributeError, OSError, RuntimeError):  # not available on this system, or stderr is not a file
        yield
        return
    try:
        yield
    finally:
        faulthandler.unregister(signal.SIGUSR2)


def _look_after(chat: Chat, arrived: queue.SimpleQueue[signal.Signals], at_terminal: bool) -> signal.Signals:
    """Handles signals until one of `STOPS` arrives, or the terminal is closed; returns that signal."""
    while (number := _wait_for_signal(arrived)) not in STOPS:
        if number == signal.SIGUSR1:
            log_threads(chat.registry.connections())
        elif at_terminal and not has_terminal():
            break  # the SIGHUP means that the terminal was closed, not that certificates shall be reloaded
        else:
            chat.reload()
    return number


def _wait_for_signal(arrived: queue.SimpleQueue[signal.Signals]) -> signal.Signals:
    # With a timeout, because a signal that is delivered to another thread does not interrupt this wait.
    while True:
        with contextlib.suppress(queue.Empty):
            return arrived.get(timeout=0.5)


def has_terminal() -> bool:
    """Whether this process has an open terminal, which will send SIGHUP when it is closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


# -- the process -------------------------------------------------------------------------------------


def raise_descriptor_limit() -> None:
    """Raises the limit of open files to the hard limit, because each connection needs one."""
    try:
        import resource
    except ImportError:  # not a POSIX system
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # some systems report "unlimited" but refuse it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def tune_interpreter() -> None:
    """Sets process-wide options, which a library must not touch. Call it before any thread is started."""
    limit_heaps()
    threading.stack_size(STACK_BYTES)
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.set_threshold(*COLLECT_AFTER)


def limit_heaps() -> None:
    """Limits glibc to two heaps for all threads; its default is eight for each core.

    Memory that one thread frees can then be used by another: after 20 people had sent deeply nested JSON, 32
    MB stayed allocated without the limit, and 6 MB with it.
    """
    with contextlib.suppress(AttributeError, OSError):  # not glibc
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)


def prepare_thread(pin: str) -> None:
    """Makes switching between threads cheaper, for the calling thread and the threads that it starts."""
    schedule_as_batch()
    if pin != "off":
        pin_to_core(pin)


def pin_to_core(core: str) -> None:
    """Keeps the calling thread, and the threads that it starts, on one core: a number, or auto.

    The interpreter runs only one of them at a time. On one core, a thread that wakes another continues until
    it blocks, and then the interpreter is free; on two cores, both threads would compete for it. On a
    free-threaded build this does not hold, and auto does nothing. If the core is not available, a warning is
    logged and the threads are not pinned.
    """
    if core == "auto" and not getattr(sys, "_is_gil_enabled", lambda: True)():
        return
    try:
        allowed = sorted(os.sched_getaffinity(0))
        chosen = allowed[os.getpid() % len(allowed)] if core == "auto" else int(core)
        os.sched_setaffinity(0, {chosen})
    except AttributeError:
        log.warning("pin=%s has no effect: this system cannot pin threads to cores", core)
    except OSError as error:
        log.warning("pin=%s has no effect: %s; available cores: %s", core, error.strerror, allowed)
    else:
        log.debug("the threads of connections are pinned to core %d", chosen)


def schedule_as_batch() -> None:
    """Puts the calling thread, and the threads that it starts, under SCHED_BATCH if Linux allows it.

    The scheduler then lets a thread finish its turn instead of switching to each thread that it wakes.
    """
    with contextlib.suppress(AttributeError, OSError):  # not Linux, or a container that forbids it
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
