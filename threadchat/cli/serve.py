"""Runs the server as a process of its own: logging, limits, signals, the start line, and the exit code."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import faulthandler
import gc
import logging
import os
import queue
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Final

from threadchat.cli.output import unblocked, unblocked_stderr
from threadchat.cli.thread_dump import log_threads
from threadchat.config.settings import UnusedSetting
from threadchat.errors import BrokerError
from threadchat.logs.format import configure_logging

if TYPE_CHECKING:
    from threadchat.config.settings import Config
    from threadchat.server.chat import Chat

log = logging.getLogger(__name__)

STACK_BYTES: Final = 1024 * 1024  # less is overflowed by deeply nested JSON; what is not used takes no memory
SWITCH_INTERVAL: Final = 0.05
"""Seconds between two looks of a thread that waits for the interpreter. At Python's own 0.005 a thousand that
wait wake 200,000 times a second only to look: of 4,000 people who all talked nobody was heard. Whoever has
the interpreter lets go of it at each system call; only behind one that computes does anybody wait so long."""
COLLECT_AFTER: Final = (10_000, 50, 1000)
"""Thresholds of the garbage collector. At Python's own a full collection came every few seconds and stopped a
server of 1,000 connections for 45 to 145 ms. What a closed connection leaves needs none: it has no cycles."""
STOPS: Final = frozenset({signal.SIGINT, signal.SIGTERM})
REQUESTS: Final = frozenset({signal.SIGHUP, signal.SIGUSR1})
"""Signals that ask for something while all goes on: certificates to be read again, threads to be logged."""
M_ARENA_MAX: Final = -8
"""glibc's number for it (mallopt(3))."""
EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130  # what shells report for a SIGINT


def announce(url: str) -> None:
    """The start line: for people, and for programs that wait for it."""
    with unblocked(sys.stdout) as stdout:
        print(f"threadchat: open {url} in a browser (Ctrl-C stops)", file=stdout, flush=True)


def serve(config: Config, opened: Callable[[str], None] = announce) -> int:
    """Runs one chat server until SIGINT or SIGTERM and returns the exit code.

    0 when everything ended within `drain_timeout`, 1 when it could not start or something still runs; a
    second SIGINT ends the process at once with 130. SIGHUP has it read its certificate again, SIGUSR1 has it
    log what its threads do. Signals that were ignored before, as `nohup` has it, stay so. `opened` is told
    once where the page is. Only the very end waits for whoever reads stderr, for a second. Raises
    ConfigError. Runs on: the main thread.
    """
    at_terminal = has_terminal()  # first: it may be closed at any time
    with unblocked_stderr():
        return _serve(config, opened, at_terminal)


def _serve(config: Config, opened: Callable[[str], None], at_terminal: bool) -> int:
    configure_logging(config.log_level, config.log_format)
    raise_descriptor_limit()
    tune_interpreter()
    with _signals_to_queue() as arrived:
        # After the stack size: importing an engine may start threads of its own one day.
        from threadchat.server.chat import Chat

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UnusedSetting)  # here they are in use
                chat = Chat(config)
            configure_logging(config.log_level, config.log_format, chat.registry.connections)
        except BrokerError as error:
            return complain(f"broker {error}")
        except OSError as error:
            return complain(f"event log {config.event_log}: {error.strerror or error}")
        try:
            chat.listen(on_accept_thread=partial(prepare_thread, config.pin))
        except (OSError, UnicodeError) as error:
            return complain(why_not_listening(config, error))
        opened(browsable(config.host, chat.url))
        log.info("stopping: %s", _look_after(chat, arrived, at_terminal).name)
        if not chat.drain(config.drain_timeout):
            return complain(f"not everything ended within drain_timeout={config.drain_timeout:g} seconds")
    return EXIT_OK


def complain(message: str) -> int:
    """Says on stderr what went wrong; returns the exit code for that."""
    print(f"threadchat: {message}", file=sys.stderr, flush=True)
    return EXIT_FAILED


# -- address -----------------------------------------------------------------------------------------


def browsable(host: str, url: str) -> str:
    """The address to type into a browser on this machine, for a server on `host` that calls itself `url`.

    The wildcards 0.0.0.0 and :: become loopback addresses, and IPv6 stands in brackets.
    """
    scheme, _, rest = url.partition("://")
    port = rest.rstrip("/").rpartition(":")[2]
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}/"


def why_not_listening(config: Config, error: OSError | UnicodeError) -> str:
    """What kept a server from its address, for whoever chose that."""
    place = f"{config.host} port {config.port}"
    if isinstance(error, UnicodeError | socket.gaierror):
        return f"host {config.host} is not known: {getattr(error, 'strerror', None) or error}"
    match error.errno:
        case errno.EADDRINUSE:
            return f"{place} is in use by another program; --port takes another one, --port 0 any free one"
        case errno.EACCES:
            return f"{place} needs privileges; --port takes one from 1024 up"
        case errno.EADDRNOTAVAIL:
            return f"{config.host} is no address of this machine; --host takes one that is"
        case _:
            return f"cannot listen on {place}: {error.strerror or error}"


# -- signals -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _signals_to_queue() -> Iterator[queue.SimpleQueue[signal.Signals]]:
    """Signals only put themselves into the queue; the former handlers come back at the end.

    Those that are ignored stay ignored: whoever started this process wanted it so.

    SimpleQueue.put may interrupt SimpleQueue.get on the same thread. Event.set may not: it takes a lock that
    an interrupted Event.wait can hold.
    """
    arrived: queue.SimpleQueue[signal.Signals] = queue.SimpleQueue()
    interrupts = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += number == signal.SIGINT
        if interrupts > 1:
            os._exit(EXIT_INTERRUPTED)  # whoever asks twice does not want to wait for goodbyes
        arrived.put(signal.Signals(number))

    former = {number: signal.signal(number, note) for number in heeded(*STOPS, *REQUESTS)}
    with last_resort():
        try:
            yield arrived
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


def heeded(*numbers: signal.Signals) -> list[signal.Signals]:
    """Those of the signals that are not ignored."""
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


@contextlib.contextmanager
def last_resort() -> Iterator[None]:
    """SIGUSR2 has Python itself print all stacks, for a process in which no thread gets its turn."""
    if signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN:
        yield
        return
    try:
        faulthandler.register(signal.SIGUSR2)
    except (AttributeError, OSError, RuntimeError):  # another system; a stderr that is no file
        yield
        return
    try:
        yield
    finally:
        faulthandler.unregister(signal.SIGUSR2)


def _look_after(chat: Chat, arrived: queue.SimpleQueue[signal.Signals], at_terminal: bool) -> signal.Signals:
    """Does what signals ask for, until one says stop; returns that one."""
    while (number := _wait_for_signal(arrived)) not in STOPS:
        if number == signal.SIGUSR1:
            log_threads(chat.registry.connections())
        elif at_terminal and not has_terminal():
            break  # it was closed: nobody asked for anything to be read again
        else:
            chat.reload()
    return number


def _wait_for_signal(arrived: queue.SimpleQueue[signal.Signals]) -> signal.Signals:
    # With a timeout: a signal that the system hands to another thread does not end a wait of this one.
    while True:
        with contextlib.suppress(queue.Empty):
            return arrived.get(timeout=0.5)


def has_terminal() -> bool:
    """Whether there is a terminal that can send a SIGHUP by being closed, and that was not yet."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


# -- the process -------------------------------------------------------------------------------------


def raise_descriptor_limit() -> None:
    """Allows this process as many open files as the system lets it have: each connection is one."""
    try:
        import resource
    except ImportError:  # no POSIX system
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # some systems say "unlimited" and refuse it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def tune_interpreter() -> None:
    """Sets for the whole process what a library must leave alone, before any thread is started."""
    limit_heaps()
    threading.stack_size(STACK_BYTES)
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.set_threshold(*COLLECT_AFTER)


def limit_heaps() -> None:
    """Has glibc keep two heaps for all threads, where it would make eight a core.

    What one thread gives back another can use then: 20 people who sent deep JSON left 32 MB behind, now 6.
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)


def prepare_thread(pin: str) -> None:
    """Makes handing the interpreter on cheap, for the calling thread and those that it will start."""
    schedule_as_batch()
    if pin != "off":
        pin_to_core(pin)


def pin_to_core(core: str) -> None:
    """Keeps the calling thread, and those that it will start, on one core: a number, or auto.

    The interpreter runs one of them at a time anyway. On one core a thread that wakes another goes on
    until it blocks, and then the interpreter is free; across cores both would fight for it. Without
    a global lock that is no longer true, and auto does nothing. Where the core is not to be had,
    a warning says so and the threads stay free.
    """
    if core == "auto" and not getattr(sys, "_is_gil_enabled", lambda: True)():
        return
    try:
        allowed = sorted(os.sched_getaffinity(0))
        chosen = allowed[os.getpid() % len(allowed)] if core == "auto" else int(core)
        os.sched_setaffinity(0, {chosen})
    except AttributeError:
        log.warning("pin=%s does nothing: this system does not bind threads to cores", core)
    except OSError as error:
        log.warning("pin=%s does nothing: %s; the cores there are: %s", core, error.strerror, allowed)
    else:
        log.debug("threads of connections stay on core %d", chosen)


def schedule_as_batch() -> None:
    """Puts the calling thread, and those it will start, under SCHED_BATCH where Linux allows it.

    The scheduler then lets a thread finish its turn instead of handing the interpreter to each one it wakes.
    """
    with contextlib.suppress(AttributeError, OSError):  # another system; a container that forbids it
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
