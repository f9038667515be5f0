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
    """Sees events on a thread of its own. `flush` follows each batch, `close` the last one."""

    def __call__(self, event: Event) -> None: ...


class ListenerThread:
    """Calls one listener for each event of one stream; its exceptions are logged and end nothing."""

    def __init__(
        self, listener: Listener | Callable[[Event], object], stream: EventStream, name: str
    ) -> None:
        self.stream = stream
        self.producer = Producer(f"listener-{name}")  # where several rooms feed the stream
        self._listener = listener
        self.thread = threading.Thread(target=self.run, name=f"listener-{name}", daemon=True)

    def start(self) -> None:
        """Starts the thread. Raises RuntimeError where the system has no more; the stream is closed then."""
        try:
            self.thread.start()
        except RuntimeError:
            self.stream.close()
            raise

    def run(self) -> None:
        """Goes through the stream to its end. Runs on: the listener's thread."""
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
