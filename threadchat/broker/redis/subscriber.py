"""The node's registration: one thread, one subscribed connection, and whoever wants to hear a channel."""

from __future__ import annotations

import contextlib
import logging
import random
import select
import socket
import threading
from collections.abc import Callable
from typing import Any, Final

from redis.exceptions import RedisError

from threadchat.broker.redis.connection import RedisConnection
from threadchat.errors import CommandError, ErrorCode
from threadchat.wire.threads.late_thread import LateThread

log = logging.getLogger(__name__)

AT_ONCE: Final = 64
"""Messages that are read before they are handed on: what came together is delivered together."""
CHUNK: Final = 512
"""Channels in one SUBSCRIBE."""
SHORTEST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 2.0
"""Seconds before another attempt to connect; doubled each time, and any part of that."""

Hear = Callable[[list[bytes]], None]
"""Takes messages of one channel, in their order. Runs on: the listener's thread; must not block."""


class _Registration:
    """One of those who hear a channel. One that is not wanted any more hears until Redis confirms that, so
    that whoever asks something meanwhile is answered."""

    __slots__ = ("confirmed", "hear", "wanted")

    def __init__(self, hear: Hear) -> None:
        self.hear = hear
        self.wanted = True
        self.confirmed = threading.Event()


class Subscriber:
    """Subscribes, reads and hands on; connects again, with growing pauses, for as long as it runs.

    Only its thread touches the connection: a TLS socket cannot be read and written by two at once. Others
    leave their wishes in `_wishes` and wake it. `_lock` guards `_registrations`, `_wishes` and `_stopped`;
    it is a leaf.
    """

    def __init__(
        self, connection: RedisConnection, on_deaf: Callable[[], None], on_connected: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._on_deaf = on_deaf
        self._on_connected = on_connected
        self._lock = threading.Lock()
        self._registrations: dict[bytes, tuple[_Registration, ...]] = {}
        self._wishes: list[bytes] = []
        self._stopped = False
        self._reset = False
        self._stop_pause = threading.Event()
        self._wake_end, self._waking_end = socket.socketpair()
        self._wake_end.setblocking(False)
        self._waking_end.setblocking(False)
        self.thread = LateThread("redis-listener", self.run)

    # For others

    def subscribe(self, channel: str, hear: Hear) -> threading.Event:
        """Wants a channel heard; the event is set once it is. Runs on: any thread."""
        registration = _Registration(hear)
        name = channel.encode()
        with self._lock:
            self._registrations[name] = (*self._registrations.get(name, ()), registration)
            self._wishes.append(name)
        self._wake()
        return registration.confirmed

    def unsubscribe(self, channel: str, hear: Hear) -> None:
        """Wants a channel heard no more by that one. Runs on: any thread."""
        name = channel.encode()
        with self._lock:
            for registration in self._registrations.get(name, ()):
                registration.wanted = registration.wanted and registration.hear != hear
            self._wishes.append(name)
        self._wake()

    def await_confirmed(self, confirmed: threading.Event, timeout: float) -> None:
        """Waits for what `subscribe` returned. Raises CommandError 100. Runs on: any thread but its own."""
        if not confirmed.wait(timeout):
            raise CommandError(ErrorCode.INTERNAL, "the message store is away, try again later")

    def reset(self) -> None:
        """Gives the connection up for a new one. Runs on: any thread."""
        self._reset = True
        self._wake()

    def stop(self) -> None:
        """Ends the thread. Runs on: any thread but its own."""
        with self._lock:
            self._stopped = True
        self._stop_pause.set()
        self._wake()
        self.thread.join()
        self._wake_end.close()
        self._waking_end.close()

    # The thread

    def run(self) -> None:
        """Listens until it is stopped. Runs on: the listener's thread."""
        pause = SHORTEST_PAUSE
        while not self._stopped:
            connection = self._connection.new_connection()
            try:
                self._connect(connection)
                pause = SHORTEST_PAUSE
                while not self._stopped and not self._reset:
                    self.listen_once(connection)
            except (RedisError, OSError) as error:
                if not self._stopped:
                    log.warning("lost Redis: %s; trying again", error)
            finally:
                self._on_deaf()
                with contextlib.suppress(RedisError, OSError):
                    connection.disconnect()
            if not self._stopped:
                self._connection.count("reconnects")
                self._stop_pause.wait(random.uniform(pause / 2, pause))
                pause = min(pause * 2, LONGEST_PAUSE)

    def listen_once(self, connection: Any) -> None:
        """Waits for messages and wishes, and does what came. Runs on: the listener's thread."""
        # redis-py has no public name for its socket, and no other way to wait for two things.
        sock = connection._sock
        if sock is None:
            raise ConnectionResetError("the connection was closed")
        waiting = select.poll()  # not `select`, which knows no descriptor above 1,023
        for readable in (sock, self._wake_end):
            waiting.register(readable, select.POLLIN)
        waiting.poll()
        with contextlib.suppress(BlockingIOError):
            while self._wake_end.recv(4096):
                pass
        self._grant(connection)
        while replies := self._read(connection):
            messages: dict[bytes, list[bytes]] = {}
            for kind, channel, payload in replies:
                if kind == b"message":
                    messages.setdefault(channel, []).append(payload)
            for channel, payloads in messages.items():
                self._hand_on(channel, payloads)
            for kind, channel, _ in replies:  # last: what came before the end of a subscription is heard
                if kind != b"message":
                    self._confirm(kind, channel)
            self._grant(connection)

    # Helpers

    def _connect(self, connection: Any) -> None:
        self._reset = False
        connection.connect()
        with self._lock:
            for channel in list(self._registrations):
                self._drop_unwanted_locked(channel)
            self._wishes = list(self._registrations)
        self._grant(connection)
        self._on_connected()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):  # full: it wakes anyway; closed: it ended
            self._waking_end.send(b"!")

    def _grant(self, connection: Any) -> None:
        """Sends the last wish for each channel. A second SUBSCRIBE is confirmed like the first."""
        with self._lock:
            wishes = list(dict.fromkeys(self._wishes))
            self._wishes = []
            wanted = [channel for channel in wishes if self._is_wanted_locked(channel)]
            unwanted = [channel for channel in wishes if not self._is_wanted_locked(channel)]
        for verb, channels in (("SUBSCRIBE", wanted), ("UNSUBSCRIBE", unwanted)):
            for start in range(0, len(channels), CHUNK):
                connection.send_command(verb, *channels[start : start + CHUNK], check_health=False)

    def _read(self, connection: Any) -> list[Any]:
        """What has come: kinds, channels, and payloads of messages."""
        replies: list[Any] = []
        while len(replies) < AT_ONCE and connection.can_read(timeout=0):
            replies.append(connection.read_response())
        return replies

    def _confirm(self, kind: bytes, channel: bytes) -> None:
        with self._lock:
            if kind == b"subscribe":
                for registration in self._registrations.get(channel, ()):
                    registration.confirmed.set()
            self._drop_unwanted_locked(channel)

    def _is_wanted_locked(self, channel: bytes) -> bool:
        return any(registration.wanted for registration in self._registrations.get(channel, ()))

    def _drop_unwanted_locked(self, channel: bytes) -> None:
        left = tuple(
            registration for registration in self._registrations.get(channel, ()) if registration.wanted
        )
        if left:
            self._registrations[channel] = left
        else:
            self._registrations.pop(channel, None)

    def _hand_on(self, channel: bytes, messages: list[bytes]) -> None:
        with self._lock:
            registrations = self._registrations.get(channel, ())
        for registration in registrations:
            try:
                registration.hear(messages)
            except Exception:
                log.exception("a message on %s failed", channel.decode(errors="replace"))
