"""The receivers of each channel, and the thread that reads what is published."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import threading
from collections.abc import Callable
from typing import Final

from redis.exceptions import RedisError

from threadchat.broker.redis.connection import RedisConnection
from threadchat.broker.redis.topology.listeners import MESSAGE, SUBSCRIBED, UNSUBSCRIBED, Listeners
from threadchat.wire.threads.late_thread import LateThread

log = logging.getLogger(__name__)

SHORTEST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 2.0
"""Seconds before the next attempt to connect. Doubled each time, and randomized."""

Receive = Callable[[list[bytes]], None]
"""Takes messages of one channel, in order. Runs on: the subscriber's thread, so it must not block."""


class _Registration:
    """One receiver of a channel.

    After `unsubscribe` it still receives until Redis confirms, so that requests sent in the meantime are
    answered.
    """

    __slots__ = ("confirmed", "receive", "wanted")

    def __init__(self, receive: Receive) -> None:
        self.receive = receive
        self.wanted = True
        self.confirmed = threading.Event()


class Subscriber:
    """Subscribes to channels, reads messages and passes them on.

    Reconnects, with growing pauses, until stopped. Only its thread touches the connections. Other threads add
    channels to `_requests` and wake it. `_lock` guards `_registrations`, `_requests` and `_stopped` and is a
    leaf.
    """

    def __init__(
        self,
        connection: RedisConnection,
        on_disconnected: Callable[[], None],
        on_connected: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._on_disconnected = on_disconnected
        self._on_connected = on_connected
        self._lock = threading.Lock()
        self._registrations: dict[bytes, tuple[_Registration, ...]] = {}
        self._requests: list[bytes] = []
        self._stopped = False
        self._reset = False
        self._listeners = Listeners(connection.topology)
        self._unconfirmed: set[bytes] = set()  # before they are, something may be missed
        self._look_elsewhere = False
        connection.topology.on_changed = self.look_elsewhere
        self._stop_pause = threading.Event()
        self._wake_end, self._waking_end = socket.socketpair()
        self._wake_end.setblocking(False)
        self._waking_end.setblocking(False)
        self.thread = LateThread("redis-subscriber", self.run)

    # For others

    def subscribe(self, channel: str, receive: Receive) -> threading.Event:
        """Registers a receiver of a channel. The event is set once Redis has confirmed.

        Runs on: any thread.
        """
        registration = _Registration(receive)
        name = channel.encode()
        with self._lock:
            self._registrations[name] = (*self._registrations.get(name, ()), registration)
            self._requests.append(name)
        self._wake()
        return registration.confirmed

    def unsubscribe(self, channel: str, receive: Receive) -> None:
        """Removes a receiver of a channel. Runs on: any thread."""
        name = channel.encode()
        with self._lock:
            for registration in self._registrations.get(name, ()):
                registration.wanted = registration.wanted and registration.receive != receive
            self._requests.append(name)
        self._wake()

    def await_confirmed(self, confirmed: threading.Event, timeout: float) -> None:
        """Waits for the event of `subscribe`. Raises CommandError 100. Runs on: any other thread."""
        if not confirmed.wait(timeout):
            raise self._connection.away()

    def reset(self) -> None:
        """Replaces the connection with a new one. Runs on: any thread."""
        self._reset = True
        self._wake()

    def look_elsewhere(self) -> None:
        """Subscribes again to channels that have moved to another server. Runs on: any thread."""
        self._look_elsewhere = True
        self._wake()

    def stop(self) -> None:
        """Ends the thread. Runs on: any other thread."""
        with self._lock:
            self._stopped = True
        self._stop_pause.set()
        self._wake()
        self.thread.join()
        self._wake_end.close()
        self._waking_end.close()

    # The thread

    def run(self) -> None:
        """Reads messages until it is stopped. Runs on: the subscriber's thread."""
        pause = SHORTEST_PAUSE
        while not self._stopped:
            try:
                self._connect()
                pause = SHORTEST_PAUSE
                while not self._stopped and not self._reset:
                    self.listen_once()
            except (RedisError, OSError) as error:
                if not self._stopped:
                    log.warning("lost Redis at %s: %s; trying again", self._connection.address, error)
            finally:
                self._on_disconnected()
                self._listeners.close()
            if not self._stopped:
                self._connection.count("reconnects")
                self._stop_pause.wait(random.uniform(pause / 2, pause))
                pause = min(pause * 2, LONGEST_PAUSE)
                self._connection.topology.look_again()

    def listen_once(self) -> None:
        """Waits for messages and requests, and handles them. Runs on: the subscriber's thread."""
        self._listeners.wait(self._wake_end)
        with contextlib.suppress(BlockingIOError):
            while self._wake_end.recv(4096):
                pass
        self._follow()
        self._send_requests()
        while replies := self._listeners.read():
            messages: dict[bytes, list[bytes]] = {}
            for kind, channel, payload in replies:
                if kind == MESSAGE:
                    messages.setdefault(channel, []).append(payload)
            for channel, payloads in messages.items():
                self._hand_on(channel, payloads)
            for kind, channel, _ in replies:  # last, so that messages before an UNSUBSCRIBE are received
                if kind != MESSAGE:
                    self._confirm(kind, channel)
            self._follow()
            self._send_requests()

    # Helpers

    def _connect(self) -> None:
        self._reset = self._look_elsewhere = False
        with self._lock:
            for channel in list(self._registrations):
                self._drop_unwanted_locked(channel)
            self._requests = list(self._registrations)
            self._unconfirmed = set(self._requests)
        self._send_requests()
        if not self._unconfirmed:
            self._on_connected()

    def _follow(self) -> None:
        """Subscribes again to channels that have moved. What was missed is looked up then."""
        moved = self._listeners.moved
        if moved:
            self._connection.topology.look_again()
        elif not self._look_elsewhere:
            return
        self._look_elsewhere = False
        with self._lock:
            again = {*moved, *self._listeners.elsewhere()} & self._registrations.keys()
            self._requests += again
        moved.clear()
        if again:
            self._on_disconnected()
            self._unconfirmed |= again

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):  # full: it wakes anyway; closed: it ended
            self._waking_end.send(b"!")

    def _send_requests(self) -> None:
        """Sends the last request for each channel. Redis confirms a second SUBSCRIBE like the first."""
        with self._lock:
            changed = list(dict.fromkeys(self._requests))
            self._requests = []
            wanted = [channel for channel in changed if self._is_wanted_locked(channel)]
            unwanted = [channel for channel in changed if not self._is_wanted_locked(channel)]
        self._listeners.subscribe(wanted, self._connection.new_connection)
        for channel in self._listeners.unsubscribe(unwanted):
            self._confirm(UNSUBSCRIBED, channel)  # nothing will

    def _confirm(self, kind: bytes, channel: bytes) -> None:
        with self._lock:
            if kind == SUBSCRIBED:
                for registration in self._registrations.get(channel, ()):
                    registration.confirmed.set()
            self._drop_unwanted_locked(channel)
        if channel in self._unconfirmed:
            self._unconfirmed.discard(channel)
            if not self._unconfirmed:
                self._on_connected()

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
                registration.receive(messages)
            except Exception:
                log.exception("a message on %s failed", channel.decode(errors="replace"))
