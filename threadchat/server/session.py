"""One person's connection in the chat: its lifecycle, its deadlines, and what all dialects share."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from threadchat.chat.events import Direct
from threadchat.chat.hub import Hub
from threadchat.config import Config
from threadchat.errors import CloseCode, CommandError, ConnectionClosed, ErrorCode, RoomClosed
from threadchat.server.hooks import Visit
from threadchat.server.users import User
from threadchat.wire.connection import Connection, ConnectionState
from threadchat.wire.outbox import Answer
from threadchat.wire.requests import Text

log = logging.getLogger(__name__)

MAX_ERRORS: Final = 64
"""Errors within `ERROR_WINDOW` after which a client is taken for broken."""
ERROR_WINDOW: Final = 60.0


class Session(ABC):
    """What a connection is to the chat, from its upgrade to its end; each dialect has its own kind.

    Everything runs on the connection's reader thread but `offer_direct` and `close`.
    """

    session = ""
    """The id of this visit, where the dialect has one."""

    def __init__(
        self,
        connection: Connection,
        hub: Hub,
        config: Config,
        *,
        visit: Visit | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`visit` brings the application's hooks, and who it says the person is."""
        self.connection = connection
        self.hub = hub
        self.visit = visit or Visit(connection)
        self.screens = self.visit.hooks.see_messages  # whether anybody asks what is said, and by whom
        self.user: int | None = None
        self.nickname = ""
        self.about = ""
        self._config = config
        self._clock = clock
        self._errors: deque[float] | None = None  # when the last ones were

    def run(self) -> None:
        """Goes through all that the peer sends, then leaves everything behind. Raises nothing."""
        connection = self.connection
        try:
            self.expire("age", self._config.max_age, CloseCode.EXPIRED)
            self.begin()
            for burst in connection.bursts():
                self._handle_burst(burst)
        except ConnectionClosed:
            pass  # in the middle of a reply; the reason is the connection's
        except RoomClosed:
            connection.close(CloseCode.SHUTDOWN)  # the hub was closed before the greeting
        except CommandError as error:  # the application does not let them in
            failed = error.code == ErrorCode.INTERNAL
            connection.close(CloseCode.INTERNAL_ERROR if failed else CloseCode.FORCE_DISCONNECT)
        except Exception:
            log.exception("connection %d (%s) failed", connection.number, connection.label)
            connection.close(CloseCode.INTERNAL_ERROR)
        finally:
            self._depart()
            connection.end_reading()

    # What a dialect is

    @abstractmethod
    def begin(self) -> None:
        """Greets the peer, sets the dialect's deadlines."""

    @abstractmethod
    def handle(self, text: str) -> None:
        """Does what one message asks. Raises ConnectionClosed."""

    def burst_ended(self) -> None:  # noqa: B027  # a dialect without bursts does nothing
        """Told after the last of the messages that came together."""

    def end(self) -> None:  # noqa: B027  # a dialect without rooms does nothing
        """Leaves rooms and subscriptions, whatever state the session is in."""

    @abstractmethod
    def encode_direct(self, direct: Direct) -> Text:
        """A direct message as this dialect says it. Runs on: the sender's thread."""

    # For the hub

    def offer_direct(self, direct: Direct, listed: list[Any]) -> Answer:
        """Takes a direct message if there is room. Runs on: the sender's thread."""
        return self.connection.offer(self.encode_direct(direct), listed)

    def close(self, code: int) -> None:
        """Ends the connection, flushing what waits; never blocks. Runs on: any thread."""
        self.connection.close(code)

    # For the dialects

    def expire(self, name: str, seconds: float, code: CloseCode) -> None:
        """Closes with `code` in `seconds`, unless the deadline of that name is cleared before."""
        self.connection.deadlines.set(name, seconds, lambda: self.connection.close(code))

    @property
    def person(self) -> User:
        """Whose session this is, for the hooks."""
        return User(self.user or 0, self.nickname)

    @property
    def authenticates(self) -> bool:
        """Whether the application knows people by ids of its own."""
        return self.visit.hooks.authenticate is not None

    def arrive(self, user: int) -> None:
        """From here on the hub finds this session by `user`. Raises CommandError where a hook minds it."""
        self.user = user
        self.connection.label = f"user {user}"
        self.hub.arrive(self)
        try:
            self.visit.arrived(self.person, self.session)
        except CommandError:
            self.hub.depart(self)
            self.user = None
            raise

    def count_error(self) -> None:
        """Closes the connection of a client that makes too many errors (3509)."""
        now = self._clock()
        if self._errors is None:
            self._errors = deque(maxlen=MAX_ERRORS)
        self._errors.append(now)
        if len(self._errors) == MAX_ERRORS and now - self._errors[0] <= ERROR_WINDOW:
            self.connection.close(CloseCode.TOO_MANY_ERRORS)

    # Helpers

    def _handle_burst(self, burst: list[str | bytes]) -> None:
        for message in burst:
            if self.connection.closed is not None:
                return
            if isinstance(message, bytes):
                self.burst_ended()  # what came before it was in order
                self.connection.close(CloseCode.UNSUPPORTED_DATA)
                return
            self.handle(message)
        self.burst_ended()

    def _depart(self) -> None:
        self.connection.advance(ConnectionState.TO_BE_DISCONNECTED)
        try:
            self.end()
        except Exception:
            log.exception("connection %d could not leave everything behind", self.connection.number)
        finally:
            self.hub.depart(self)
            self.visit.departed(self.person)
