"""Who calls a command of the application's: the person, their connection, and what can be done for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from threadchat.server.auth.users import User


class Tab(Protocol):
    """A session on the native dialect, as its caller sees it."""

    session: str

    @property
    def person(self) -> User: ...
    @property
    def address(self) -> str: ...
    def move(self, action: str, room: str) -> bool: ...
    def tell(self, name: str, data: object) -> None: ...


class Caller:
    """One connection, as the application's commands get it; the same object for each of its calls.

    `user` is whose it is, `session` its id, `address` where it comes from. `environ` is what the request for
    the WebSocket brought: headers (`HTTP_COOKIE`), path and query. `state` is a dict of the application's own
    that lives as long as the connection.

    All methods are about this connection alone, may be called from any thread, and raise ConnectionClosed
    once it is gone.
    """

    __slots__ = ("_tab", "environ", "state")

    def __init__(self, tab: Tab, environ: Mapping[str, Any]) -> None:
        self._tab = tab
        self.environ = environ
        self.state: dict[Any, Any] = {}

    @property
    def user(self) -> User:
        """Whose connection it is: `user.id` and `user.nickname`."""
        return self._tab.person

    @property
    def session(self) -> str:
        """The id that the reply to hello carried; what `skip` of an event takes."""
        return self._tab.session

    @property
    def address(self) -> str:
        """Where the connection comes from; empty where that is unknown."""
        return self._tab.address

    def emit(self, name: str, data: object = None) -> None:
        """Sends an event to this connection, in no room and in no log. Waits while its outbox is full.

        Raises CommandError 107 for a name that is none, and for data that JSON cannot carry.
        """
        self._tab.tell(name, data)

    def join(self, room: str) -> bool:
        """Makes the person a member of a room, with this connection; False where it is there already.

        The client is told with `joined`, before the room's events. Raises CommandError 103 for a person who
        is banned there, 106 where there are too many rooms, and 107 for what is no room's name.
        """
        return self._tab.move("join", room)

    def subscribe(self, room: str) -> bool:
        """Has this connection listen to a room; otherwise as `join`."""
        return self._tab.move("subscribe", room)

    def leave(self, room: str) -> bool:
        """Ends a membership of this connection; False where there is none."""
        return self._tab.move("leave", room)

    def unsubscribe(self, room: str) -> bool:
        """Ends a subscription of this connection; False where there is none."""
        return self._tab.move("unsubscribe", room)

    def __repr__(self) -> str:
        return f"<Caller {self.user} session={self.session}>"
