"""One connection's sanction_check: who somebody is, what they may do, and what becomes of their words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from threadchat.callbacks import is_unrun
from threadchat.errors import BadToken, CloseCode, CommandError, ErrorCode, Refuse
from threadchat.logs.rate_limit import LogRateLimit
from threadchat.server.auth.failures import Failures
from threadchat.server.auth.hooks import NO_HOOKS, Hooks, SessionInfo
from threadchat.server.auth.known_names import KnownNames
from threadchat.server.auth.permissions import ACTIONS, MODERATE, NEEDS, PHRASES, READ, AnyAction, Permissions
from threadchat.server.auth.tokens import Pass, Tokens
from threadchat.server.auth.users import User, exactly_text
from threadchat.server.protocol import commands
from threadchat.wire.connection import Connection

log = logging.getLogger(__name__)
log.addFilter(LogRateLimit())


_ABOUT: Final[dict[str, str]] = {"direct": "to", "call": "name"}
"""The field that says what a command is about, where that is no room."""


class Admission(NamedTuple):
    """Who may come in, besides those whom the application knows."""

    tokens: Tokens | None = None
    anonymous: bool = True
    failures: Failures | None = None
    known_names: KnownNames | None = None

    def verify(self, tokens: Tokens, token: str, failed: Callable[[Failures], None]) -> Pass:
        """What a token says; `failed` notes one that is refused. Raises BadToken."""
        try:
            return tokens.verify(token)
        except BadToken:
            if self.failures is not None:
                failed(self.failures)
            raise

    def leave_behind(self) -> None:
        """Begins anew in a forked process. Runs on: its only thread, first."""
        for part in (self.failures, self.known_names):
            if part is not None:
                part.leave_behind()


ANYBODY: Final = Admission()


class Identity:
    """One connection's dealings with the hooks, and with the token that it came with.

    What a hook raises is logged and becomes error 100; only a `Refuse` is the client's to read. Everything
    runs on the connection's reader thread and may block it.
    """

    __slots__ = (
        "_admission",
        "_connection",
        "_info",
        "_pass",
        "address",
        "environ",
        "hooks",
        "identity",
    )

    def __init__(
        self,
        connection: Connection,
        hooks: Hooks = NO_HOOKS,
        identity: User | None = None,
        address: str = "",
        *,
        admission: Admission = ANYBODY,
        shown: Pass | None = None,
        environ: Mapping[str, Any] | None = None,
    ) -> None:
        """`identity` is who the application or a token says it is, None for somebody anonymous.

        `shown` is what the token said that came with the handshake. `environ` is what
        the application's commands are told of the handshake.
        """
        self.hooks = hooks
        self.identity = identity
        self.address = address
        self.environ = environ or {}
        self._admission = admission
        self._pass = shown
        self._connection = connection
        self._info: SessionInfo | None = None

    # Who one is

    @property
    def authenticates(self) -> bool:
        """Whether ids from 1 on are those of people who are known: by the application, or by tokens."""
        return self.hooks.authenticate is not None or self._admission.tokens is not None

    @property
    def may_enter(self) -> bool:
        """Whether hello may be said as who one is by now: as nobody only where that is allowed."""
        return self.identity is not None or self._admission.anonymous

    @property
    def screens(self) -> bool:
        """Whether anybody has to be asked what may be done or said."""
        return self.hooks.see_messages or self.permissions is not None

    @property
    def permissions(self) -> Permissions | None:
        """What the token says of rooms; None where it says nothing, or there is none."""
        return None if self._pass is None else self._pass.permissions

    @property
    def expires(self) -> float | None:
        """When the token expires, in Unix time; None without one."""
        return None if self._pass is None else self._pass.expires

    def show(self, token: str) -> None:
        """Takes the token of a hello. Raises as `renew` does."""
        self.renew(token)
        assert self._pass is not None
        if self.identity is None or not self.identity.nickname:
            self.identity = self._pass.user

    def renew(self, token: str) -> None:
        """Takes a token for how long one may stay, and what one may do; nothing else changes.

        Raises BadToken, and CommandError 107 for somebody else's: who is known stays who they are.
        """
        if self._admission.tokens is None:
            raise BadToken("this server has neither token_key nor token_keys to check it with")
        shown = self._admission.verify(
            self._admission.tokens, token, lambda failures: failures.note("token", self.address)
        )
        if self.identity is not None and self.identity.id != shown.user.id:
            whose = f"this token is of user {shown.user.id}, and you are user {self.identity.id}"
            raise CommandError(ErrorCode.BAD_REQUEST, f"{whose}; connect anew with it")
        self._pass = shown
        self.heed_expiry()

    def heed_expiry(self) -> None:
        """Ends the connection (3005) when the token expires, if there is one."""
        if self._pass is not None and self._admission.tokens is not None:
            connection, seconds = self._connection, self._admission.tokens.remaining(self._pass)
            connection.deadlines.set("token", seconds, lambda: connection.close(CloseCode.EXPIRED))

    def arrived(self, user: User, session: str = "") -> None:
        """Calls `on_connect`. Raises CommandError where it refuses or fails: nobody arrived then."""
        info = SessionInfo(user, session, self._connection.number, self.address)
        hook = self.hooks.on_connect
        if hook is not None and not self._allows("on_connect", hook, info, otherwise=True):
            raise Refuse("the application did not let you in")
        self._info = info
        if self.given_name and self._admission.known_names is not None:
            self._admission.known_names.add(self.given_name)

    # What one may do

    def may(self, user: User, action: AnyAction, target: str | int) -> bool:
        """Whether the token's permissions allow it, and then `authorize`; to moderate, see `_moderates`.

        Raises CommandError where the hook refuses in its own words, or fails.
        """
        if action == "moderate":
            return self._moderates(user, str(target))
        permissions, hook, letter = self.permissions, self.hooks.authorize, NEEDS.get(action)
        if permissions is not None and letter is not None and not permissions.allow(letter, str(target)):
            return False
        if hook is None or action == "typing":  # which happens with each key, and only where one may be
            return True
        return self._allows("authorize", hook, user, action, target)

    def _moderates(self, user: User, room: str) -> bool:
        """Somebody known, of whom the token or the application says so: nobody does by default."""
        if self.identity is None:
            return False
        if self.permissions is not None and self.permissions.allow(MODERATE, room):
            return True
        hook = self.hooks.moderates
        return hook is not None and self._allows("moderates", hook, user, room)

    def check(self, user: User, action: AnyAction, target: str | int) -> None:
        """Raises CommandError 103 where `may` says no."""
        if not self.may(user, action, target):
            what = f"{PHRASES[action]} {target}" if target != "" else "moderate everywhere"
            raise Refuse(f"you may not {what}")

    def check_command(self, user: User, command: commands.Command) -> None:
        """The same for a command; one that is nobody's business passes."""
        action = ACTIONS.get(type(command))
        if action is not None:
            self.check(user, action, getattr(command, _ABOUT.get(action, "room")))

    def may_see(self, room: str) -> bool:
        """Whether a room is one of those that the token lets one read; the hook is not asked."""
        return self.permissions is None or self.permissions.allow(READ, room)

    @property
    def given_name(self) -> str | None:
        """The nickname that the application gave; whoever has one cannot choose."""
        return (self.identity.nickname or None) if self.identity else None

    def check_name(self, name: str) -> None:
        """Raises CommandError 103 where the application gave another one."""
        if self.given_name not in (None, name):
            raise CommandError(ErrorCode.PERMISSION_DENIED, f"your nickname here is {self.given_name}")

    def check_claimed(self, name: str) -> None:
        """The same, and 103 for the name of somebody known, where a name is all that others see."""
        self.check_name(name)
        known = self._admission.known_names
        if self.given_name is None and known is not None and name in known:
            raise CommandError(ErrorCode.PERMISSION_DENIED, "this is the name of somebody who is known here")

    def screen(self, user: User, room: str, text: str) -> str:
        """What may be said instead of `text`, by `authorize` and `on_message`. Raises CommandError."""
        self.check(user, "message", room)
        if (hook := self.hooks.on_message) is None:
            return text
        answer = self._call(hook, user, room, text)
        if answer is None or answer == "":
            raise Refuse(f"this message was not accepted in room {room}")
        if not isinstance(answer, str):
            raise self._wrong("on_message", answer, "text or None")
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
            answer = self._call(hook, info._replace(user=user), code, reason)
            if is_unrun(answer):
                self._wrong("on_disconnect", answer, "None")
        except CommandError:
            pass  # it is in the log; there is nobody left to tell

    @property
    def _number(self) -> int:
        return self._connection.number

    def _allows(self, name: str, hook: Callable[..., Any], *asked: object, otherwise: bool = False) -> bool:
        """What a hook says that is asked for yes or no; None is `otherwise`.

        Raises CommandError 100 for any other answer: a coroutine, say, is true.
        """
        answer = self._call(hook, *asked)
        if answer is True or answer is False:
            return answer
        if answer is None:
            return otherwise
        raise self._wrong(name, answer, "True, False or None")

    def _wrong(self, name: str, answer: object, wanted: str) -> CommandError:
        """Logs that a hook's answer is none; what the client is told."""
        kind, label = type(answer).__name__, self._connection.label
        unrun = " (is it async, or does it yield? it did not run)" if is_unrun(answer) else ""
        log.error(
            "connection %d (%s): %s returned a %s, not %s%s", self._number, label, name, kind, wanted, unrun
        )
        return CommandError(ErrorCode.INTERNAL)

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
