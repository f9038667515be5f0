"""`Caller`: the connection that calls an application command, and what the command may do with it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final, Protocol

from threadchat.server.auth.users import User

MAX_POOLED: Final = 16
"""Calls of one connection on the pool at once, so that one client cannot fill it."""


class CallerSession(Protocol):
    """The part of a session that a `Caller` uses."""

    session: str

    @property
    def person(self) -> User: ...
    @property
    def address(self) -> str: ...
    def move(self, action: str, room: str) -> bool: ...
    def tell(self, name: str, data: object) -> None: ...


class Caller:
    """One connection, as application commands receive it. All calls of a connection get the same object.

    `user` is the person, `session` the session's id, and `address` the client's address. `environ` has the
    headers (such as `HTTP_COOKIE`), path and query of the WebSocket's request. `state` is a dict for the
    application, which lives as long as the connection.

    Every method concerns this connection only, may be called from any thread, and raises ConnectionClosed
    once the connection has ended.
    """

    __slots__ = ("_session", "environ", "slots", "state")

    def __init__(self, session: CallerSession, environ: Mapping[str, Any]) -> None:
        self._session = session
        self.environ = environ
        self.state: dict[Any, Any] = {}
        self.slots = threading.Semaphore(MAX_POOLED)  # not for the application

    @property
    def user(self) -> User:
        """The person: `user.id` and `user.nickname`."""
        return self._session.person

    @property
    def session(self) -> str:
        """The session's id from the reply to hello, as the argument `skip` of `emit` takes it."""
        return self._session.session

    @property
    def address(self) -> str:
        """The client's address; empty if it is unknown."""
        return self._session.address

    def emit(self, name: str, data: object = None) -> None:
        """Sends an event to this connection only; it is stored nowhere. Waits while the outbox is full.

        In a browser, `chat.inbox.on(name, …)` receives it.

        Raises CommandError 107 for an invalid name, and for data that cannot be encoded as JSON.
        """
        self._session.tell(name, data)

    def join(self, room: str) -> bool:
        """Joins this connection to a room; returns False if it is in the room already.

        The client receives `joined` before the room's events. Raises CommandError 103 if the person is banned
        there, 106 if the connection is in too many rooms, and 107 for an invalid name.
        """
        return self._session.move("join", room)

    def subscribe(self, room: str) -> bool:
        """Subscribes this connection to a room without joining it; otherwise as `join`."""
        return self._session.move("subscribe", room)

    def leave(self, room: str) -> bool:
        """Ends this connection's membership in a room; returns False if there is none."""
        return self._session.move("leave", room)

    def unsubscribe(self, room: str) -> bool:
        """Ends this connection's subscription to a room; returns False if there is none."""
        return self._session.move("unsubscribe", room)

    def __repr__(self) -> str:
        return f"<Caller {self.user} session={self.session}>"
