"""The identity of one connection: who somebody is, what they may do, and the hooks that decide about it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from math import inf
from time import time
from typing import Any, Final

import msgspec

from threadchat.callbacks import is_unrun
from threadchat.chat.access.revocations import Proof
from threadchat.errors import BadToken, CloseCode, CommandError, ErrorCode, Refuse
from threadchat.logs.rate_limit import LogRateLimit
from threadchat.server.auth.admission import ANYBODY, Admission
from threadchat.server.auth.hooks import NO_HOOKS, Hooks, SessionInfo
from threadchat.server.auth.permissions import ACTIONS, MODERATE, NEEDS, PHRASES, READ, AnyAction, Permissions
from threadchat.server.auth.tokens import Pass
from threadchat.server.auth.users import User, exactly_text
from threadchat.server.protocol import commands
from threadchat.wire.connection import Connection

log = logging.getLogger(__name__)
log.addFilter(LogRateLimit())


_ABOUT: Final[dict[str, str]] = {"direct": "to", "call": "name"}
"""The field with a command's target, where the target is not a room."""


class Identity:
    """Calls the hooks and checks the token for one connection.

    An exception in a hook is logged and becomes error 100. Only the reason of a `Refuse` reaches the client.
    Everything runs on the connection's reader thread and may block it.
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
        "issued",
        "leaving",
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
        issued: float | None = None,
    ) -> None:
        """`identity` is the user named by the application or a token; None for an anonymous person.

        `shown` is the token of the handshake; `environ` is the part of it that application commands receive.
        `issued` is when the application was asked who this is, in Unix time; None: now.
        """
        self.hooks = hooks
        self.identity = identity
        self.address = address
        self.environ = environ or {}
        self._admission = admission
        self._pass = shown
        self.issued = time() if issued is None else issued
        self._connection = connection
        self._info: SessionInfo | None = None
        self.leaving = False  # the person logs out, so this connection ends by itself

    # Authentication

    @property
    def authenticates(self) -> bool:
        """Whether the application or tokens identify people. Then ids from 1 are theirs."""
        return self.hooks.authenticate is not None or self._admission.tokens is not None

    @property
    def may_enter(self) -> bool:
        """Whether hello is accepted now: anonymous people are admitted only if the chat allows them."""
        return self.identity is not None or self._admission.anonymous

    @property
    def screens(self) -> bool:
        """Whether a hook or a token restricts commands or messages."""
        return self.hooks.see_messages or self.permissions is not None

    @property
    def permissions(self) -> Permissions | None:
        """The token's permissions for rooms; None without a token, or if it has none."""
        return None if self._pass is None else self._pass.permissions

    @property
    def expires(self) -> float | None:
        """When the token expires, in Unix time; None without a token."""
        return None if self._pass is None else self._pass.expires

    @property
    def proof(self) -> Proof:
        """What proves who this is, for revocations. Runs on: any thread."""
        if self.leaving:
            return Proof(inf)
        return Proof(self.issued) if self._pass is None else self._pass.proof

    def show(self, token: str) -> None:
        """Accepts the token of a hello. Raises as `renew` does."""
        self.renew(token)
        assert self._pass is not None
        if self.identity is None or not self.identity.nickname:
            self.identity = self._pass.user

    def renew(self, token: str) -> None:
        """Accepts a token. Its expiry and permissions replace the earlier ones; the user stays the same.

        Raises BadToken, and CommandError 107 for a token of another user.
        """
        if self._admission.tokens is None:
            raise BadToken("this server has neither token_key nor token_keys to check it")
        shown = self._admission.verify(
            self._admission.tokens, token, lambda failures: failures.note("token", self.address)
        )
        if self.identity is not None and self.identity.id != shown.user.id:
            whose = f"this token is of user {shown.user.id}, and you are user {self.identity.id}"
            raise CommandError(ErrorCode.BAD_REQUEST, f"{whose}; open a new connection with it")
        self._pass = shown
        self.heed_expiry()

    def heed_expiry(self) -> None:
        """Sets the deadline that closes the connection (3005) when its token expires, if there is one."""
        if self._pass is not None and self._admission.tokens is not None:
            connection, seconds = self._connection, self._admission.tokens.remaining(self._pass)
            connection.deadlines.set("token", seconds, lambda: connection.close(CloseCode.EXPIRED))

    def arrived(self, user: User, session: str = "") -> None:
        """Calls `on_connect`. Raises CommandError if it refuses or fails, or if `proof` was just revoked."""
        if user.id != 0:
            self._admission.check_revoked(user.id, self.proof)
        info = SessionInfo(user, session, self._connection.number, self.address)
        hook = self.hooks.on_connect
        if hook is not None and not self._allows("on_connect", hook, info, otherwise=True):
            raise Refuse("the application did not let you in")
        self._info = info
        if self.given_name and self._admission.known_names is not None:
            self._admission.known_names.add(self.given_name)

    # Authorization

    def may(self, user: User, action: AnyAction, target: str | int) -> bool:
        """Whether the token's permissions and `authorize` both allow an action.

        For "moderate" see `_moderates`. Raises CommandError if the hook fails, or refuses with a reason.
        """
        if action == "moderate":
            return self._moderates(user, str(target))
        permissions, hook, letter = self.permissions, self.hooks.authorize, NEEDS.get(action)
        if permissions is not None and letter is not None and not permissions.allow(letter, str(target)):
            return False
        if hook is None or action in ("typing", "read"):  # too frequent for a hook, and they tell little
            return True
        return self._allows("authorize", hook, user, action, target)

    def _moderates(self, user: User, room: str) -> bool:
        """Whether somebody may moderate: only a known user whose token or whose application says so."""
        if self.identity is None:
            return False
        if self.permissions is not None and self.permissions.allow(MODERATE, room):
            return True
        hook = self.hooks.moderates
        return hook is not None and self._allows("moderates", hook, user, room)

    def check(self, user: User, action: AnyAction, target: str | int) -> None:
        """Raises CommandError 103 if `may` returns False."""
        if not self.may(user, action, target):
            what = f"{PHRASES[action]} {target}" if target != "" else "moderate everywhere"
            raise Refuse(f"you may not {what}")

    def check_command(self, user: User, command: commands.Command) -> None:
        """Calls `check` for a command, if the command needs a permission."""
        action = ACTIONS.get(type(command))
        if action is not None:
            self.check(user, action, getattr(command, _ABOUT.get(action, "room")))

    def may_see(self, room: str) -> bool:
        """Whether the token lets its user read a room. The hook is not asked."""
        return self.permissions is None or self.permissions.allow(READ, room)

    @property
    def given_name(self) -> str | None:
        """The nickname set by the application or the token. Its user cannot choose another."""
        return (self.identity.nickname or None) if self.identity else None

    def check_name(self, name: str) -> None:
        """Raises CommandError 103 for another nickname than `given_name`, if there is one."""
        if self.given_name not in (None, name):
            raise CommandError(ErrorCode.PERMISSION_DENIED, f"your nickname here is {self.given_name}")

    def check_claimed(self, name: str) -> None:
        """Calls `check_name`, and also raises 103 for the name of another authenticated user."""
        self.check_name(name)
        known = self._admission.known_names
        if self.given_name is None and known is not None and name in known:
            raise CommandError(ErrorCode.PERMISSION_DENIED, "this is the name of an authenticated user")

    def screen(self, user: User, room: str, text: str) -> str:
        """Asks `authorize` and `on_message`; returns the text to publish. Raises CommandError."""
        self.check(user, "message", room)
        return self.reword(user, room, text)

    def reword(self, user: User, room: str, text: str) -> str:
        """Asks `on_message` only; see `screen`."""
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
        """Returns the messages to publish. Calls `refuse` with an error and an id for each other one."""
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
        """Calls `on_disconnect` once, if `on_connect` admitted this person. Raises nothing."""
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
            pass  # the error is logged, and nobody is left to reply to

    @property
    def _number(self) -> int:
        return self._connection.number

    def _allows(self, name: str, hook: Callable[..., Any], *asked: object, otherwise: bool = False) -> bool:
        """Calls a hook that answers True or False; None means `otherwise`.

        Raises CommandError 100 for any other answer. A coroutine, for example, would count as true.
        """
        answer = self._call(hook, *asked)
        if answer is True or answer is False:
            return answer
        if answer is None:
            return otherwise
        raise self._wrong(name, answer, "True, False or None")

    def _wrong(self, name: str, answer: object, wanted: str) -> CommandError:
        """Logs a hook's invalid answer; returns the error for the client."""
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
        except (Exception, SystemExit) as error:  # SystemExit would end the thread and leak the socket
            name = getattr(hook, "__qualname__", repr(hook))
            label = self._connection.label
            log.exception("connection %d (%s): the hook %s failed", self._number, label, name)
            raise CommandError(ErrorCode.INTERNAL) from error
