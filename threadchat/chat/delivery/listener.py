"""Calls a listener for each event of a stream, on a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from threadchat.callbacks import is_unrun
from threadchat.chat.delivery.producer import Producer
from threadchat.chat.delivery.stream import EventStream
from threadchat.chat.log.events import Event
from threadchat.errors import SlowConsumer

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Is called with events, on a thread of its own.

    `flush` is called after each batch, and `close` after the last.
    """

    def __call__(self, event: Event) -> None: ...


class ListenerThread:
    """Calls one listener for each event of one stream.

    Exceptions of the listener are logged and end nothing.
    """

    def __init__(
        self, listener: Listener | Callable[[Event], object], stream: EventStream, name: str
    ) -> None:
        self.stream = stream
        self.producer = Producer(f"listener-{name}")  # used when several rooms feed the stream
        self._listener = listener
        self.thread = threading.Thread(target=self.run, name=f"listener-{name}", daemon=True)

    def start(self) -> None:
        """Starts the thread. If the system has no more threads, closes the stream and raises RuntimeError."""
        try:
            self.thread.start()
        except RuntimeError:
            self.stream.close()
            raise

    def run(self) -> None:
        """Passes on events until the stream ends. Runs on: the listener's thread."""
        try:
            while batch := self.stream.take():
                for event in batch:
                    self._call(self._listener, event)
                self._call(getattr(self._listener, "flush", None))
        except SlowConsumer as error:
            log.warning("%s ended: %s", threading.current_thread().name, error)
        self._call(getattr(self._listener, "close", None))

    def _call(self, function: Callable[..., object] | None, *args: object) -> None:
        if function is None:
            return
        try:
            if is_unrun(function(*args)):
                raise TypeError("it returned a coroutine or a generator: its body did not run")
        except Exception:
            log.exception("%s: a listener failed", threading.current_thread().name)
