"""Every exception and every code: close codes, error codes, and which of them a client should retry."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class CloseCode(IntEnum):
    """WebSocket close codes: RFC 6455 7.4.1 below 3000, this application's own from 3000 on.

    From 3000 to 3499 a client does well to reconnect, from 3500 to 3999 it should not: the same
    attempt would end the same way. `reason` is the text that goes out with the code.
    """

    reason: str

    def __new__(cls, code: int, reason: str) -> CloseCode:
        member = int.__new__(cls, code)
        member._value_ = code
        member.reason = reason
        return member

    NORMAL = 1000, "normal closure"
    GOING_AWAY = 1001, "going away"
    PROTOCOL_ERROR = 1002, "protocol error"
    UNSUPPORTED_DATA = 1003, "binary frames are not understood here"
    NO_STATUS = 1005, "no status received"
    ABNORMAL = 1006, "connection lost"
    INVALID_TEXT = 1007, "invalid UTF-8"
    MESSAGE_TOO_BIG = 1009, "message too big"
    INTERNAL_ERROR = 1011, "internal error"
    SHUTDOWN = 3001, "shutdown"
    EXPIRED = 3005, "expired"
    SLOW = 3008, "slow: the socket took no byte"
    WRITE_TIMEOUT = 3009, "slow: too little was read"
    INSUFFICIENT_STATE = 3010, "insufficient state: the log no longer reaches back"
    NO_PONG = 3012, "no pong"
    TOO_MANY_REQUESTS = 3013, "too many requests"
    INVALID_TOKEN = 3500, "invalid token"
    STALE = 3502, "stale"
    FORCE_DISCONNECT = 3503, "force disconnect"
    CONNECTION_LIMIT = 3504, "connection limit"
    TOO_MANY_ERRORS = 3509, "too many errors"

    @classmethod
    def describe(cls, code: int) -> str:
        """The reason that goes with `code`; empty for a code that is not in the table."""
        return next((member.reason for member in cls if member == code), "")

    @property
    def reconnect(self) -> bool:
        """Whether a client should try again: not after a normal end, nor where it is to blame."""
        return self in (CloseCode.GOING_AWAY, CloseCode.ABNORMAL, CloseCode.INTERNAL_ERROR) or (
            3000 <= self < 3500
        )


class ErrorCode(IntEnum):
    """Codes of error replies. `temporary` ones may be retried as they are."""

    reason: str
    temporary: bool

    def __new__(cls, code: int, reason: str, temporary: bool = False) -> ErrorCode:
        member = int.__new__(cls, code)
        member._value_ = code
        member.reason = reason
        member.temporary = temporary
        return member

    INTERNAL = 100, "internal error", True
    UNAUTHORIZED = 101, "unauthorized"
    UNKNOWN_ROOM = 102, "unknown room"
    PERMISSION_DENIED = 103, "permission denied"
    UNKNOWN_COMMAND = 104, "unknown command"
    ALREADY = 105, "already done"
    LIMIT_EXCEEDED = 106, "limit exceeded"
    BAD_REQUEST = 107, "bad request"
    NOT_AVAILABLE = 108, "not available"
    TOO_MANY_REQUESTS = 111, "too many requests", True
    UNRECOVERABLE_POSITION = 112, "unrecoverable position"


class ThreadchatError(Exception):
    """The root of every exception that this package raises on purpose."""


class ConfigError(ThreadchatError, ValueError):
    """A setting has a value that cannot be used; the message names setting, value and range."""


class BrokerError(ThreadchatError):
    """The broker cannot be opened; the message says what is wrong, and what to do where that is known."""


_MEANINGS = {
    1000: "OK",
    1001: "going away",
    1002: "protocol error",
    1003: "unsupported data",
    1005: "no status received [internal]",
    1006: "abnormal closure [internal]",
    1007: "invalid frame payload data",
    1008: "policy violation",
    1009: "message too big",
    1010: "mandatory extension",
    1011: "internal error",
    1012: "service restart",
    1013: "try again later",
    1014: "bad gateway",
    1015: "TLS handshake failure [internal]",
}
"""What the registry of close codes (RFC 6455 11.7) calls them."""


class CloseFrame(NamedTuple):
    """What a Close frame says."""

    code: int
    reason: str

    def __str__(self) -> str:
        code = int(self.code)
        kind = "registered" if 3000 <= code < 4000 else "private use" if 4000 <= code < 5000 else "unknown"
        return f"{code} ({_MEANINGS.get(code, kind)}) {self.reason}".rstrip()

    def __repr__(self) -> str:
        return f"Close(code={int(self.code)}, reason={self.reason!r})"


class ConnectionClosed(ThreadchatError):
    """The connection is closed, or closes; `code` and `reason` say why.

    `rcvd` and `sent` are the Close of the peer and ours, as far as there were any, and `rcvd_then_sent` says
    which came first where there were both. Only the plain layer tells them apart.
    """

    code: int = CloseCode.ABNORMAL
    reason: str = ""
    rcvd: CloseFrame | None = None
    sent: CloseFrame | None = None
    rcvd_then_sent: bool | None = None

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"{int(code)} {reason}".rstrip())
        self.code = int(code)
        self.reason = reason


class ConnectionClosedOK(ConnectionClosed):
    """The connection ended as it should: with 1000, 1001, or a Close without a code."""


class ConnectionClosedError(ConnectionClosed):
    """The connection ended otherwise: with another code, or without a Close."""


class ConcurrencyError(ThreadchatError, RuntimeError):
    """Two threads receive from one connection at once: messages would go to either by chance."""


class SendTimeout(ThreadchatError, TimeoutError):
    """The peer's socket took no byte for the whole timeout while a message waited for room."""


class Cancelled(ThreadchatError):
    """A put was called off by its owner before there was room."""


class BadUrl(ThreadchatError, ValueError):
    """An address to connect to, or what goes with it, cannot be used; the text says what would be right."""


class CannotConnect(ThreadchatError, ConnectionError):
    """No connection came about; the text says where it ended: name, TCP, TLS or handshake."""


class ConnectTimeout(CannotConnect, TimeoutError):
    """No connection came about in time."""


class HandshakeRefused(CannotConnect):
    """The server answered the handshake with something else than 101: its status, headers and body.

    The text ends with the first line of the body, where that is plain text: threadchat says there why.
    """

    def __init__(self, status: int, headers: list[tuple[str, str]], body: str) -> None:
        location = next((value for name, value in headers if name.lower() == "location"), "")
        to = f" (to {location}: redirects are not followed)" if location else ""
        reason = _reason_in(headers, body)
        super().__init__(f"the server refused the WebSocket handshake with status {status}{to}{reason}")
        self.status = status
        self.headers = headers
        self.body = body


def _reason_in(headers: list[tuple[str, str]], body: str) -> str:
    """The sentence of a plain-text body, without what it could do to a terminal; empty without one."""
    kind = next((value for name, value in headers if name.lower() == "content-type"), "")
    line = body.strip().partition("\n")[0].strip()
    if not line or not kind.lower().startswith("text/plain"):
        return ""
    shown = "".join(letter if letter.isprintable() else "?" for letter in line)
    return f": {shown[:300]}"


class TooManyPings(ThreadchatError):
    """So many pings of a connection are unanswered that no further one is sent."""


class BadToken(ThreadchatError):
    """A token proves nothing; the text says why, and holds nothing of the token itself."""


class RoomClosed(ThreadchatError):
    """The room is closed; nobody can be added to it."""


class SlowConsumer(ThreadchatError):
    """A stream or listener did not keep up: it held publishers for as long as it may, then ended."""


class CommandError(ThreadchatError):
    """A command was refused; becomes one error reply."""

    def __init__(self, code: ErrorCode, reason: str = "", *, temporary: bool | None = None) -> None:
        super().__init__(reason or code.reason)
        self.code = code
        self.reason = reason or code.reason
        self.temporary = code.temporary if temporary is None else temporary


class Refuse(CommandError):
    """What an application raises in a hook to say no: error 103 with its own words."""

    def __init__(self, reason: object = "") -> None:
        """`reason` is text, or what `str` makes text of: a translation that is looked up late, say."""
        super().__init__(ErrorCode.PERMISSION_DENIED, str(reason).encode(errors="replace").decode())


class NoSocket(ThreadchatError, RuntimeError):
    """A WebSocket cannot be had from the server behind a request; the text names the way out.

    `status` is the HTTP status for whoever asked.
    """

    def __init__(self, message: str, status: str = "501 Not Implemented") -> None:
        super().__init__(message)
        self.status = status
