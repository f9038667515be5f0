"""Decides which thread offers events: the publisher's own (directory), or one thread per hub (router)."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from threadchat.chat.delivery.stream import REQUEST_BUFFER, SEND_TIMEOUT
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import Draft, Position
from threadchat.chat.room import Room
from threadchat.errors import CommandError, ErrorCode, RoomClosed
from threadchat.wire.threads.late_thread import LateThread

Work = Callable[[], Any]
Result = TypeVar("Result")


class Routing(Protocol):
    """How a hub's events and direct messages reach the outboxes.

    Every method may be called from any thread.
    """

    def publish(self, room: Room, drafts: Sequence[Draft]) -> list[Position]:
        """Publishes in `room` and returns the positions. Raises RoomClosed."""

    def direct(self, deliver: Callable[[], Result]) -> Result:
        """Calls `deliver`, which offers a direct message, and returns its result."""

    def close(self) -> None:
        """Ends the routing's threads. Waiting requests are done first, later ones are refused."""

    def leave_behind(self) -> None:
        """Starts from scratch in a forked process. Runs on: its only thread, before anything else."""


class Directory:
    """The publisher's own thread does the offering."""

    def publish(self, room: Room, drafts: Sequence[Draft]) -> list[Position]:
        """See Routing."""
        return room.publish(drafts)

    def direct(self, deliver: Callable[[], Result]) -> Result:
        """See Routing."""
        return deliver()

    def close(self) -> None:
        """See Routing."""

    def leave_behind(self) -> None:
        """See Routing."""


class Router:
    """One thread does the offering. Its request buffer is bounded, and publishers wait for its answers.

    The router's thread never waits for a room. If a room has a gate to wait for, the router returns the gate
    and the publisher waits.
    """

    def __init__(self, request_buffer: int = REQUEST_BUFFER, send_timeout: float = SEND_TIMEOUT) -> None:
        self._send_timeout = send_timeout
        self._most = request_buffer
        self._requests: queue.SimpleQueue[tuple[Work, Future[Any]] | None] = queue.SimpleQueue()
        # Guards `_closed`. Requests are put under it, so that none comes after the end.
        self._closing = threading.Lock()
        self._space = threading.Condition(self._closing)  # notified when there is room for another request
        self._closed = False
        self._thread = LateThread("router", self.run)

    def publish(self, room: Room, drafts: Sequence[Draft]) -> list[Position]:
        """See Routing."""
        while True:
            answer: list[Position] | Gate = self._ask(lambda: room.try_publish(drafts))
            if not isinstance(answer, Gate):
                return answer
            answer.wait(self._send_timeout)

    def direct(self, deliver: Callable[[], Result]) -> Result:
        """See Routing."""
        delivered: Result = self._ask(deliver)
        return delivered

    def close(self) -> None:
        """See Routing."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._requests.put(None)
                self._space.notify_all()
        self._thread.join()

    def leave_behind(self) -> None:
        """See Routing."""
        closed = self._closed
        self.__init__(self._most, self._send_timeout)  # type: ignore[misc]
        self._closed = closed

    def run(self) -> None:
        """Does one request after another until the hub is closed. Runs on: the router's thread."""
        while (request := self._requests.get()) is not None:
            with self._space:
                self._space.notify()
            work, future = request
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)

    def _ask(self, work: Work) -> Any:
        future: Future[Any] = Future()
        with self._closing:
            if not self._space.wait_for(self._has_room_locked, self._send_timeout):
                raise CommandError(ErrorCode.TOO_MANY_REQUESTS, "the router's request buffer is full")
            if self._closed:
                raise RoomClosed("the hub is closed")
            self._thread.start()
            self._requests.put((work, future))
        return future.result()

    def _has_room_locked(self) -> bool:
        return self._closed or self._requests.qsize() < self._most


class Counted:
    """Wraps a routing and reports how many events go through it, joins and leaves included."""

    def __init__(self, routing: Routing, published: Callable[[int], object]) -> None:
        self._routing = routing
        self._published = published
        self.direct = routing.direct
        self.close = routing.close
        self.leave_behind = routing.leave_behind

    def publish(self, room: Room, drafts: Sequence[Draft]) -> list[Position]:
        """See Routing."""
        positions = self._routing.publish(room, drafts)
        self._published(len(positions))
        return positions


def make_routing(name: str, request_buffer: int, send_timeout: float) -> Routing:
    """The routing of that name."""
    return Router(request_buffer, send_timeout) if name == "router" else Directory()
