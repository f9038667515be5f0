"""Who does the offering: the publisher's own thread (directory), or one thread for a hub (router)."""

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

Work = Callable[[], Any]
Result = TypeVar("Result")


class Routing(Protocol):
    """How a hub's publications and direct messages get to their outboxes. To be called on any thread."""

    def publish(self, room: Room, drafts: Sequence[Draft]) -> list[Position]:
        """Publishes in `room` and returns the places. Raises RoomClosed."""

    def direct(self, deliver: Callable[[], Result]) -> Result:
        """Runs what offers a direct message, and returns its answer."""

    def close(self) -> None:
        """Ends whatever threads there are; what waits is done first, what comes later is refused."""


class Directory:
    """The publisher's own thread offers."""

    def publish(self, room: Room, drafts: Sequence[Draft]) -> list[Position]:
        """See Routing."""
        return room.publish(drafts)

    def direct(self, deliver: Callable[[], Result]) -> Result:
        """See Routing."""
        return deliver()

    def close(self) -> None:
        """See Routing."""


class Router:
    """One thread offers, behind a bounded buffer of requests; a publisher waits for its answer.

    The router's thread never waits for a room: where a room's gate is shut it hands the gate back,
    and the publisher waits at it.
    """

    def __init__(self, request_buffer: int = REQUEST_BUFFER, send_timeout: float = SEND_TIMEOUT) -> None:
        self._send_timeout = send_timeout
        self._places = threading.Semaphore(request_buffer)  # what bounds `_requests`
        self._requests: queue.SimpleQueue[tuple[Work, Future[Any]] | None] = queue.SimpleQueue()
        # Guards `_closed` and `_thread`; requests are put under it, so that none comes behind the end.
        self._closing = threading.Lock()
        self._closed = False
        self._thread: threading.Thread | None = None

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
            thread = self._thread
        if thread is not None:
            thread.join()

    def run(self) -> None:
        """Does one request after the other, until the hub is closed. Runs on: the router's thread."""
        while (request := self._requests.get()) is not None:
            self._places.release()
            work, future = request
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)

    def _ask(self, work: Work) -> Any:
        if not self._places.acquire(timeout=self._send_timeout):
            raise CommandError(ErrorCode.TOO_MANY_REQUESTS, "the router's request buffer is full")
        future: Future[Any] = Future()
        with self._closing:
            if self._closed:
                self._places.release()
                raise RoomClosed("the hub is closed")
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self.run, name="router", daemon=True)
                self._thread.start()
            self._requests.put((work, future))
        return future.result()


class Counted:
    """Another routing; tells how many events went through it, joins and leaves too."""

    def __init__(self, routing: Routing, published: Callable[[int], object]) -> None:
        self._routing = routing
        self._published = published
        self.direct = routing.direct
        self.close = routing.close

    def publish(self, room: Room, drafts: Sequence[Draft]) -> list[Position]:
        """See Routing."""
        positions = self._routing.publish(room, drafts)
        self._published(len(positions))
        return positions


def make_routing(name: str, request_buffer: int, send_timeout: float) -> Routing:
    """The routing of that name."""
    return Router(request_buffer, send_timeout) if name == "router" else Directory()
