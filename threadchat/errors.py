"""All exceptions, close codes and error codes, and which of them a client should retry."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class CloseCode(IntEnum):
    """WebSocket close codes: those of RFC 6455 7.4.1 below 3000, and threadchat's own from 3000 on.

    After a code from 3000 to 3499 a client should reconnect; after one from 3500 to 3999 it should not,
    because the next attempt would end the same way. `reason` is the text that is sent with the code.
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
        """Returns the reason of `code`, or an empty text for an unknown code."""
        return next((member.reason for member in cls if member == code), "")

    @property
    def reconnect(self) -> bool:
        """Whether a client should reconnect: not after a normal end, and not if it caused the error."""
        return self in (CloseCode.GOING_AWAY, CloseCode.ABNORMAL, CloseCode.INTERNAL_ERROR) or (
            3000 <= self < 3500
        )


class ErrorCode(IntEnum):
    """Codes of error replies. After a `temporary` one the same command may be sent again."""

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
    """The base class of all exceptions that this package raises on purpose."""


class ConfigError(ThreadchatError, ValueError):
    """A setting has an invalid value; the message names the setting, the value and the allowed range."""


class BrokerError(ThreadchatError):
    """The broker cannot be opened; the message says why and, if known, what to do."""


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
"""The names of close codes in IANA's registry (RFC 6455 11.7)."""


class CloseFrame(NamedTuple):
    """The code and the reason of a Close frame."""

    code: int
    reason: str

    def __str__(self) -> str:
        code = int(self.code)
        kind = "registered" if 3000 <= code < 4000 else "private use" if 4000 <= code < 5000 else "unknown"
        return f"{code} ({_MEANINGS.get(code, kind)}) {self.reason}".rstrip()

    def __repr__(self) -> str:
        return f"Close(code={int(self.code)}, reason={self.reason!r})"


class ConnectionClosed(ThreadchatError):
    """The connection is closed or closing; `code` and `reason` say why.

    `rcvd` and `sent` are the Close frames that were received and sent, or None, and `rcvd_then_sent` says
    whether the received one came first, as in `websockets`. Only the plain layer sets them.
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
    """The connection ended normally: with 1000, 1001, or a Close without a code."""


class ConnectionClosedError(ConnectionClosed):
    """The connection ended with an error: with another code, or without a Close."""


class ConcurrencyError(ThreadchatError, RuntimeError):
    """A second thread tried to receive from a connection; each message would go to a random one of them."""


class SendTimeout(ThreadchatError, TimeoutError):
    """The peer's socket took no byte for the whole timeout while a message waited for room."""


class Cancelled(ThreadchatError):
    """A put was cancelled before there was room."""


class BadUrl(ThreadchatError, ValueError):
    """A URL, or an argument that comes with it, is invalid; the message says what would be valid."""


class CannotConnect(ThreadchatError, ConnectionError):
    """A connection could not be made; the message says which step failed: name, TCP, TLS or handshake."""


class ConnectTimeout(CannotConnect, TimeoutError):
    """A connection could not be made within the timeout."""


class HandshakeRefused(CannotConnect):
    """The server answered the handshake with a status other than 101; holds its status, headers and body.

    If the body is plain text, the message ends with its first line, where a threadchat server says why.
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
    """Returns the first line of a plain-text body without control characters, or an empty text."""
    kind = next((value for name, value in headers if name.lower() == "content-type"), "")
    line = body.strip().partition("\n")[0].strip()
    if not line or not kind.lower().startswith("text/plain"):
        return ""
    shown = "".join(letter if letter.isprintable() else "?" for letter in line)
    return f": {shown[:300]}"


class TooManyPings(ThreadchatError):
    """Too many pings of a connection are unanswered; the ping was not sent."""


class BadToken(ThreadchatError):
    """A token is invalid; the message says why, and does not contain any part of the token."""


class RoomClosed(ThreadchatError):
    """The room is closed; nobody can be added to it."""


class SlowConsumer(ThreadchatError):
    """A stream or listener was too slow: publishers waited for it as long as allowed, then it ended."""


class CommandError(ThreadchatError):
    """A command was refused; the client gets one error reply with the code and the reason.

    `detail` is for the program and its log, and is not sent: it may name addresses.
    """

    def __init__(
        self, code: ErrorCode, reason: str = "", *, temporary: bool | None = None, detail: str = ""
    ) -> None:
        said = reason or code.reason
        super().__init__(f"{said}: {detail}" if detail else said)
        self.code = code
        self.reason = said
        self.temporary = code.temporary if temporary is None else temporary


class Refuse(CommandError):
    """Raised by an application's hook to refuse: the client gets error 103 with this reason."""

    def __init__(self, reason: object = "") -> None:
        """`reason` is text, or an object that `str` converts, such as a lazy translation."""
        super().__init__(ErrorCode.PERMISSION_DENIED, str(reason).encode(errors="replace").decode())


class NoSocket(ThreadchatError, RuntimeError):
    """The WSGI server of a request does not give access to its socket; the message says what to do.

    `status` is the HTTP status for the client.
    """

    def __init__(self, message: str, status: str = "501 Not Implemented") -> None:
        super().__init__(message)
        self.status = status
