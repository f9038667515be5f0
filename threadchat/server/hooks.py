"""Where the application has its say: who somebody is, what they may do, and what becomes of their words."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple, TypeVar

import msgspec

from threadchat.errors import CloseCode, CommandError, ConfigError, ErrorCode, Refuse
from threadchat.server import commands
from threadchat.server.users import User, exactly_text
from threadchat.wire.connection import Connection

log = logging.getLogger(__name__)

Action = Literal["join", "subscribe", "message", "history", "who", "direct"]


class SessionInfo(NamedTuple):
    """One visit of a person: what `on_connect` and `on_disconnect` are told.

    `session` is the id that the reply to hello carried (empty on the older dialects), `connection` the
    number in the chat's log messages and thread names, `address` the peer's as the server saw it: behind a
    proxy, that proxy's.
    """

    user: User
    session: str
    connection: int
    address: str


Authenticate = Callable[[dict[str, Any]], object]
OnConnect = Callable[[SessionInfo], object]
OnMessage = Callable[[User, str, str], str | None]
OnDisconnect = Callable[[SessionInfo, int, str], object]
Authorize = Callable[[User, Action, str | int], object]
Hook = TypeVar("Hook", bound=Callable[..., object])


class Hooks:
    """An application's callables, each at most once; `Chat` says when they are called, and with what."""

    __slots__ = ("authenticate", "authorize", "on_connect", "on_disconnect", "on_message")

    def __init__(self, **given: Callable[..., object] | None) -> None:
        """Raises ConfigError for what cannot be called."""
        self.authenticate: Authenticate | None = None
        self.on_connect: OnConnect | None = None
        self.on_message: OnMessage | None = None
        self.on_disconnect: OnDisconnect | None = None
        self.authorize: Authorize | None = None
        for name, hook in given.items():
            if hook is not None:
                self.set(name, hook)

    @property
    def see_messages(self) -> bool:
        """Whether one of them wants to see messages before they are published."""
        return self.on_message is not None or self.authorize is not None

    def set(self, name: str, hook: Hook) -> Hook:
        """Sets one and returns it, as a decorator does. Raises ConfigError where there is one already."""
        if not callable(hook):
            raise ConfigError(f"{name}={hook!r:.60} cannot be called; give a function")
        if getattr(self, name) is not None:
            raise ConfigError(f"{name} is set already; call both from one function")
        setattr(self, name, hook)
        return hook


class WithHooks:
    """Something that has `hooks`, which decorators may set; each raises ConfigError where there is one."""

    hooks: Hooks

    def authenticate(self, hook: Authenticate) -> Authenticate:
        """Sets the hook of that name. Runs on: any thread."""
        return self.hooks.set("authenticate", hook)

    def on_connect(self, hook: OnConnect) -> OnConnect:
        """Sets the hook of that name. Runs on: any thread."""
        return self.hooks.set("on_connect", hook)

    def on_message(self, hook: OnMessage) -> OnMessage:
        """Sets the hook of that name. Runs on: any thread."""
        return self.hooks.set("on_message", hook)

    def on_disconnect(self, hook: OnDisconnect) -> OnDisconnect:
        """Sets the hook of that name. Runs on: any thread."""
        return self.hooks.set("on_disconnect", hook)

    def authorize(self, hook: Authorize) -> Authorize:
        """Sets the hook of that name. Runs on: any thread."""
        return self.hooks.set("authorize", hook)


NO_HOOKS: Final = Hooks()


class Visit:
    """One connection's dealings with the hooks.

    What a hook raises is logged and becomes error 100; only a `Refuse` is the client's to read. Everything
    runs on the connection's reader thread and may block it.
    """

    __slots__ = ("_connection", "_info", "address", "hooks", "identity")

    def __init__(
        self, connection: Connection, hooks: Hooks = NO_HOOKS, identity: User | None = None, address: str = ""
    ) -> None:
        """`identity` is who the application says it is, None for somebody anonymous."""
        self.hooks = hooks
        self.identity = identity
        self.address = address
        self._connection = connection
        self._info: SessionInfo | None = None

    def arrived(self, user: User, session: str = "") -> None:
        """Calls `on_connect`. Raises CommandError where it refuses or fails: nobody arrived then."""
        info = SessionInfo(user, session, self._connection.number, self.address)
        if (hook := self.hooks.on_connect) is not None:
            self._call(hook, info)
        self._info = info

    def check(self, user: User, action: Action, target: str | int) -> None:
        """Asks `authorize`. Raises CommandError 103 where it says no."""
        hook = self.hooks.authorize
        if hook is not None and not self._call(hook, user, action, target):
            raise Refuse(f"you may not {_PHRASES[action]} {target}")

    def check_command(self, user: User, command: commands.Command) -> None:
        """The same for a command; one that is nobody's business passes."""
        action = _ACTIONS.get(type(command))
        if action is not None:
            self.check(user, action, getattr(command, "to" if action == "direct" else "room"))

    @property
    def given_name(self) -> str | None:
        """The nickname that the application gave; whoever has one cannot choose."""
        return (self.identity.nickname or None) if self.identity else None

    def check_name(self, name: str) -> None:
        """Raises CommandError 103 where the application gave another one."""
        if self.given_name not in (None, name):
            raise CommandError(ErrorCode.PERMISSION_DENIED, f"your nickname here is {self.given_name}")

    def screen(self, user: User, room: str, text: str) -> str:
        """What may be said instead of `text`, by `authorize` and `on_message`. Raises CommandError."""
        self.check(user, "message", room)
        if (hook := self.hooks.on_message) is None:
            return text
        answer = self._call(hook, user, room, text)
        if answer is None:
            raise Refuse(f"this message was not accepted in room {room}")
        if not isinstance(answer, str):
            kind = type(answer).__name__
            log.error("connection %d: on_message returned a %s, not text or None", self._number, kind)
            raise CommandError(ErrorCode.INTERNAL)
        return exactly_text(answer)

    def screen_all(
        self, user: User, messages: list[commands.Message], refuse: Callable[[CommandError, Any], object]
    ) -> list[commands.Message]:
        """What may be said of `messages`; `refuse` is called for each of the others, with its id."""
        passed = []
        for item in messages:
            try:
                text = self.screen(user, item.room, item.message)
            except CommandError as error:
                refuse(error, item.id)
            else:
                passed.append(msgspec.structs.replace(item, message=text))
        return passed

    def departed(self, user: User) -> None:
        """Calls `on_disconnect`, once, if `on_connect` was passed. Raises nothing."""
        info, self._info = self._info, None
        hook = self.hooks.on_disconnect
        if info is None or hook is None:
            return
        closed = self._connection.closed
        code, reason = (closed.code, closed.reason) if closed else (int(CloseCode.ABNORMAL), "")
        try:
            self._call(hook, info._replace(user=user), code, reason)
        except CommandError:
            pass  # it is in the log; there is nobody left to tell

    @property
    def _number(self) -> int:
        return self._connection.number

    def _call(self, hook: Callable[..., Any], *arguments: object) -> Any:
        try:
            return hook(*arguments)
        except Refuse:
            raise
        except (Exception, SystemExit) as error:  # whose end would leave the descriptor open
            name = getattr(hook, "__qualname__", repr(hook))
            label = self._connection.label
            log.exception("connection %d (%s): the hook %s failed", self._number, label, name)
            raise CommandError(ErrorCode.INTERNAL) from error


_ACTIONS: Final[dict[type[commands.Command], Action]] = {
    commands.Join: "join",
    commands.Subscribe: "subscribe",
    commands.Count: "history",
    commands.History: "history",
    commands.Who: "who",
    commands.SendDirect: "direct",
}

_PHRASES: Final[dict[str, str]] = {
    "join": "join room",
    "subscribe": "subscribe to room",
    "message": "write in room",
    "history": "read the history of room",
    "who": "see who is in room",
    "direct": "write to user",
}
