"""The hooks that an application sets to decide about people and messages: their types, and their holder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypedDict, TypeVar, Unpack

from threadchat.callbacks import check_callback
from threadchat.config.setting import suggestion
from threadchat.config.settings import SETTINGS
from threadchat.errors import ConfigError
from threadchat.server.auth.permissions import Action
from threadchat.server.auth.users import User


class SessionInfo(NamedTuple):
    """One session of a person, as `on_connect` and `on_disconnect` receive it.

    `session` is the id in the reply to hello, empty on the older dialects. `connection` is the number in log
    messages and thread names. `address` is the client's address; behind a proxy that is not a `trusted_proxy`
    it is the proxy's.
    """

    user: User
    session: str
    connection: int
    address: str


Authenticate = Callable[[dict[str, Any]], object]
OnConnect = Callable[[SessionInfo], bool | None]
OnMessage = Callable[[User, str, str], str | None]
OnDisconnect = Callable[[SessionInfo, int, str], object]
Authorize = Callable[[User, Action, str | int], bool | None]
Moderates = Callable[[User, str], bool | None]
Hook = TypeVar("Hook", bound=Callable[..., object])


ARGUMENTS: Final = {
    "authenticate": ("environ",),
    "on_connect": ("info",),
    "on_message": ("user", "room", "text"),
    "on_disconnect": ("info", "code", "reason"),
    "authorize": ("user", "action", "room"),
    "moderates": ("user", "room"),
}
"""The positional arguments of each hook."""


class Given(TypedDict, total=False):
    """Hooks as keyword arguments; None means that the hook is not set."""

    authenticate: Authenticate | None
    on_connect: OnConnect | None
    on_message: OnMessage | None
    on_disconnect: OnDisconnect | None
    authorize: Authorize | None
    moderates: Moderates | None


class Hooks:
    """The hooks of one application. `Chat` documents when each is called, and with what."""

    __slots__ = ("authenticate", "authorize", "moderates", "on_connect", "on_disconnect", "on_message")

    def __init__(self, **given: Unpack[Given]) -> None:
        """Raises ConfigError for an unknown name, and where `set` does."""
        self.authenticate: Authenticate | None = None
        self.on_connect: OnConnect | None = None
        self.on_message: OnMessage | None = None
        self.on_disconnect: OnDisconnect | None = None
        self.authorize: Authorize | None = None
        self.moderates: Moderates | None = None
        for name, hook in given.items():
            if name not in self.__slots__:
                raise ConfigError(f"{name} is not a hook{_hint(name)}; there are {', '.join(self.__slots__)}")
            if hook is not None:
                self.set(name, hook)  # type: ignore[type-var]  # to mypy, a TypedDict's values are objects

    @property
    def see_messages(self) -> bool:
        """Whether a hook sees messages before they are published."""
        return self.on_message is not None or self.authorize is not None

    def set(self, name: str, hook: Hook) -> Hook:
        """Sets a hook and returns it, so that a decorator can use this.

        Raises ConfigError if the hook is set already, and if it is not callable, is async, or takes other
        arguments.
        """
        check_callback(name, hook, ARGUMENTS[name])
        if getattr(self, name) is not None:
            raise ConfigError(f"{name} is set already; call both from one function")
        setattr(self, name, hook)
        return hook


def _hint(name: str) -> str:
    """What somebody who gave this keyword probably meant."""
    if name in SETTINGS:
        return f", but a setting: write Chat(Config({name}=...))"
    return suggestion(name, Hooks.__slots__)


class WithHooks:
    """Decorators that set the hooks of `hooks`. Each raises ConfigError where `Hooks.set` does."""

    hooks: Hooks

    def authenticate(self, hook: Authenticate) -> Authenticate:
        """Sets the hook that says who requests a WebSocket. Runs on: any thread."""
        return self.hooks.set("authenticate", hook)

    def on_connect(self, hook: OnConnect) -> OnConnect:
        """Sets the hook that is called after each `hello`. Runs on: any thread."""
        return self.hooks.set("on_connect", hook)

    def on_message(self, hook: OnMessage) -> OnMessage:
        """Sets the hook that sees each message before it is published. Runs on: any thread."""
        return self.hooks.set("on_message", hook)

    def on_disconnect(self, hook: OnDisconnect) -> OnDisconnect:
        """Sets the hook that is called when a connection that said hello has ended. Runs on: any thread."""
        return self.hooks.set("on_disconnect", hook)

    def authorize(self, hook: Authorize) -> Authorize:
        """Sets the hook that says who may do what in which room. Runs on: any thread."""
        return self.hooks.set("authorize", hook)

    def moderates(self, hook: Moderates) -> Moderates:
        """Sets the hook that says who may moderate which room. Runs on: any thread."""
        return self.hooks.set("moderates", hook)


NO_HOOKS: Final = Hooks()
