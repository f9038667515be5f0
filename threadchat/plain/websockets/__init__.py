"""The names of `websockets` for threads: write `threadchat.plain.websockets.` instead of `websockets.`.

`sync` has servers and clients; the other modules have what programs import in addition.
threadchat/docs/parity.md says what is missing here, and why. Names are imported at their first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

_NAMES: Final = {
    "datastructures": (
        "Headers",
        "HeadersLike",
        "MultipleValuesError",
    ),
    "exceptions": (
        "ConcurrencyError",
        "ConnectionClosed",
        "ConnectionClosedError",
        "ConnectionClosedOK",
        "DuplicateParameter",
        "HeaderLineTooLong",
        "InvalidHandshake",
        "InvalidHeader",
        "InvalidHeaderFormat",
        "InvalidHeaderValue",
        "InvalidMessage",
        "InvalidMethod",
        "InvalidOrigin",
        "InvalidParameterName",
        "InvalidParameterValue",
        "InvalidProtocol",
        "InvalidProxy",
        "InvalidProxyMessage",
        "InvalidProxyStatus",
        "InvalidState",
        "InvalidStatus",
        "InvalidURI",
        "InvalidUpgrade",
        "NegotiationError",
        "PayloadTooBig",
        "ProtocolError",
        "ProxyError",
        "RequestLineTooLong",
        "SecurityError",
        "StatusLineTooLong",
        "TooManyFragments",
        "TooManyHeaders",
        "WebSocketException",
    ),
    "frames": (
        "Close",
        "CloseCode",
        "Opcode",
    ),
    "http11": (
        "Request",
        "Response",
    ),
    "protocol": (
        "Side",
        "State",
    ),
    "typing": (
        "Data",
        "ExtensionName",
        "ExtensionParameter",
        "LoggerLike",
        "Origin",
        "StatusLike",
        "Subprotocol",
    ),
}
_HOMES: Final = {name: module for module, names in _NAMES.items() for name in names}
_MODULES: Final = (*_NAMES, "extensions", "headers", "sync", "uri")

_OF_ASYNCIO: Final = ("asyncio", "basic_auth", "broadcast", "client", "connect", "route", "serve", "server")


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    way = "; servers and clients are in its sync.server and sync.client" if name in _OF_ASYNCIO else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{way}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, *_MODULES])
