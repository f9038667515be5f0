"""The exceptions of the plain layer, with the names and the hierarchy of `websockets.exceptions`.

If `websockets` is installed, each of them is also a subclass of its namesake there. So code that still
imports those catches these.
"""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

from threadchat import errors
from threadchat.errors import BadUrl, CloseFrame, ThreadchatError


class WebSocketException(ThreadchatError):
    """The base class of the exceptions in this module."""


class ConnectionClosed(errors.ConnectionClosed, WebSocketException):
    """The connection is closed or closing; holds what the Close frames said, if there were any.

    `code` and `reason` are the peer's. If the peer sent no Close, `code` is 1006, or this side's own code
    from 3000 on, such as 3008 for a peer that does not read.
    """

    def __init__(
        self,
        rcvd: CloseFrame | None = None,
        sent: CloseFrame | None = None,
        rcvd_then_sent: bool | None = None,
        *,
        verdict: errors.ConnectionClosed | None = None,
    ) -> None:
        Exception.__init__(self, rcvd, sent, rcvd_then_sent)
        self.rcvd, self.sent, self.rcvd_then_sent = rcvd, sent, rcvd_then_sent
        self._verdict = verdict if rcvd is None and verdict is not None and verdict.code >= 3000 else None
        if self._verdict is not None:
            self.code, self.reason = self._verdict.code, self._verdict.reason
        elif rcvd is not None:
            self.code, self.reason = int(rcvd.code), rcvd.reason

    def __str__(self) -> str:
        received = "no close frame received" if self.rcvd is None else f"received {self.rcvd}"
        sent = "no close frame sent" if self.sent is None else f"sent {self.sent}"
        if self._verdict is not None and self.sent is None:
            return f"{self._verdict.code} {self._verdict.reason}; no close frame received or sent"
        if self.rcvd is None and self.sent is None:
            return "no close frame received or sent"
        if self.rcvd is not None and self.sent is not None:
            return f"{received}; then {sent}" if self.rcvd_then_sent else f"{sent}; then {received}"
        return f"{sent}; {received}" if self.rcvd is None else f"{received}; {sent}"


class ConnectionClosedOK(ConnectionClosed, errors.ConnectionClosedOK):
    """The connection ended normally: 1000, 1001 or no code, received and sent."""


class ConnectionClosedError(ConnectionClosed, errors.ConnectionClosedError):
    """The connection ended with an error: with another code, or without a Close from either side."""


class InvalidURI(BadUrl, WebSocketException):
    """An address to connect to cannot be used."""

    def __init__(self, uri: str, msg: str) -> None:
        Exception.__init__(self, uri, msg)
        self.uri, self.msg = uri, msg

    def __str__(self) -> str:
        return f"{self.uri} isn't a valid URI: {self.msg}"


class InvalidProxy(BadUrl, WebSocketException):
    """The address of a proxy cannot be used."""

    def __init__(self, proxy: str, msg: str) -> None:
        Exception.__init__(self, proxy, msg)
        self.proxy, self.msg = proxy, msg

    def __str__(self) -> str:
        return f"{self.proxy} isn't a valid proxy: {self.msg}"


class InvalidHandshake(WebSocketException):
    """The opening handshake failed."""


class SecurityError(InvalidHandshake):
    """A request or response is larger than it may be."""


class RequestLineTooLong(SecurityError):
    """See SecurityError; a server answers such a request by itself."""


class StatusLineTooLong(SecurityError):
    """See SecurityError."""


class HeaderLineTooLong(SecurityError):
    """See SecurityError."""


class TooManyHeaders(SecurityError):
    """See SecurityError."""


class ProxyError(InvalidHandshake):
    """A proxy could not be reached, or refused the connection."""


class InvalidProxyMessage(ProxyError):
    """The answer of a proxy is malformed."""


class InvalidMessage(InvalidHandshake):
    """A request or response of the handshake is malformed."""


class InvalidMethod(InvalidHandshake):
    """A handshake did not use GET."""

    def __init__(self, method: str) -> None:
        Exception.__init__(self, method)
        self.method = method

    def __str__(self) -> str:
        return f"unsupported HTTP method: {self.method}"


class InvalidProtocol(InvalidHandshake):
    """A handshake did not use HTTP/1.1."""

    def __init__(self, protocol: str) -> None:
        Exception.__init__(self, protocol)
        self.protocol = protocol

    def __str__(self) -> str:
        return f"unsupported HTTP version: {self.protocol}"


class InvalidStatus(InvalidHandshake):
    """A server answered with another status than 101; `response` has its headers and body."""

    said = "server rejected WebSocket connection"

    def __init__(self, response: Any) -> None:
        Exception.__init__(self, response)
        self.response = response

    def __str__(self) -> str:
        return f"{self.said}: HTTP {self.response.status_code}"


class InvalidProxyStatus(ProxyError):
    """A proxy answered with another status than 2xx; see `response`."""

    def __init__(self, response: Any) -> None:
        Exception.__init__(self, response)
        self.response = response

    def __str__(self) -> str:
        return f"proxy rejected connection: HTTP {self.response.status_code}"


class InvalidHeader(InvalidHandshake):
    """A header is missing, empty or wrong."""

    def __init__(self, name: str, value: str | None = None) -> None:
        self.name, self.value = name, value

    def __str__(self) -> str:
        if self.value:
            return f"invalid {self.name} header: {self.value}"
        return f"{'missing' if self.value is None else 'empty'} {self.name} header"


class InvalidHeaderFormat(InvalidHeader):
    """A header is malformed."""

    def __init__(self, name: str, error: str, header: str, pos: int) -> None:
        super().__init__(name, f"{error} at {pos} in {header}")


class InvalidHeaderValue(InvalidHeader):
    """A header is well-formed, but has an unusable value."""


class InvalidOrigin(InvalidHeader):
    """Pages of this origin may not connect."""

    def __init__(self, origin: str | None) -> None:
        super().__init__("Origin", origin)


class InvalidUpgrade(InvalidHeader):
    """The header Upgrade or Connection is wrong."""


class NegotiationError(InvalidHandshake):
    """The sides did not agree on a subprotocol or an extension."""


class DuplicateParameter(NegotiationError):
    """A parameter of an extension occurs twice."""

    def __init__(self, name: str) -> None:
        Exception.__init__(self, name)
        self.name = name

    def __str__(self) -> str:
        return f"duplicate parameter: {self.name}"


class InvalidParameterName(NegotiationError):
    """An extension has no such parameter."""

    def __init__(self, name: str) -> None:
        Exception.__init__(self, name)
        self.name = name

    def __str__(self) -> str:
        return f"invalid parameter name: {self.name}"


class InvalidParameterValue(NegotiationError):
    """A parameter of an extension has an invalid value."""

    def __init__(self, name: str, value: str | None) -> None:
        Exception.__init__(self, name, value)
        self.name, self.value = name, value

    def __str__(self) -> str:
        if self.value:
            return f"invalid value for parameter {self.name}: {self.value}"
        return f"{'missing' if self.value is None else 'empty'} value for parameter {self.name}"


class ProtocolError(WebSocketException, ValueError):
    """A frame that is to be sent would break the protocol."""


class PayloadTooBig(WebSocketException):
    """A message is larger than `max_size`. Never raised: the connection is closed with 1009."""


class TooManyFragments(WebSocketException):
    """A message has too many fragments."""


class InvalidState(WebSocketException, AssertionError):
    """A frame cannot be sent in the present state of the connection."""


class MultipleValuesError(ThreadchatError, LookupError):
    """A header was looked up by its name, and occurs several times."""

    def __str__(self) -> str:
        return repr(self.args[0]) if len(self.args) == 1 else super().__str__()


class ConcurrencyError(errors.ConcurrencyError, WebSocketException):
    """Two threads receive, or send in fragments, on one connection at once."""


def installed(name: str) -> tuple[type[Exception], ...]:
    """The exception of that name of `websockets` itself, if that is installed and has one."""
    module = "datastructures" if name == "MultipleValuesError" else "exceptions"
    try:
        found: Any = getattr(importlib.import_module(f"websockets.{module}"), name, None)
    except ImportError:
        return ()
    return (found,) if isinstance(found, type) else ()


def _become_theirs_too() -> None:
    for name, kind in list(globals().items()):
        if isinstance(kind, type) and kind.__module__ == __name__:
            ours = [base for base in kind.__bases__ if base.__module__ != "builtins"]
            with contextlib.suppress(TypeError):  # where another version has it elsewhere in its hierarchy
                kind.__bases__ = (*ours, *installed(name), *(set(kind.__bases__) - set(ours)))


_become_theirs_too()
