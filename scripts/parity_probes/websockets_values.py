"""Probes of what needs no connection: names, exceptions, headers, addresses, frames."""

from __future__ import annotations

import inspect
from typing import Any

from parity_probes.probing import Table, attempt

NAMES = {
    "exceptions": (
        "WebSocketException ConnectionClosed ConnectionClosedOK ConnectionClosedError InvalidURI "
        "InvalidProxy InvalidHandshake SecurityError RequestLineTooLong StatusLineTooLong "
        "HeaderLineTooLong TooManyHeaders TooManyFragments ProxyError InvalidProxyMessage "
        "InvalidProxyStatus InvalidMessage InvalidMethod InvalidProtocol InvalidStatus "
        "InvalidHeader InvalidHeaderFormat InvalidHeaderValue InvalidOrigin InvalidUpgrade "
        "NegotiationError DuplicateParameter InvalidParameterName InvalidParameterValue "
        "ProtocolError PayloadTooBig InvalidState ConcurrencyError"
    ),
    "sync.client": "ClientConnection connect unix_connect reconnect unix_reconnect",
    "sync.server": "Server ServerConnection serve unix_serve basic_auth broadcast",
    "sync.connection": "Connection",
    "sync.router": "Router route unix_route",
    "frames": "Close CloseCode Opcode Frame",
    "datastructures": "Headers HeadersLike MultipleValuesError",
    "http11": "Request Response SERVER USER_AGENT",
    "typing": "Data LoggerLike StatusLike Origin Subprotocol ExtensionName ExtensionParameter",
    "protocol": "State Side Protocol",
    "headers": "build_authorization_basic parse_authorization_basic build_www_authenticate_basic build_host",
    "uri": "parse_uri WebSocketURI",
}
MADE: dict[str, tuple[Any, ...]] = {
    "InvalidURI": ("http://x", "no"),
    "InvalidProxy": ("x", "no"),
    "InvalidMethod": ("POST",),
    "InvalidProtocol": ("HTTP/1.0",),
    "InvalidHeader": ("Upgrade", "x"),
    "InvalidHeaderFormat": ("Upgrade", "expected token", "?", 0),
    "InvalidHeaderValue": ("Upgrade", ""),
    "InvalidUpgrade": ("Upgrade",),
    "InvalidOrigin": ("https://x",),
    "DuplicateParameter": ("a",),
    "InvalidParameterName": ("a",),
    "InvalidParameterValue": ("a", "b"),
    "NegotiationError": ("no",),
    "ProtocolError": ("no",),
    "ConcurrencyError": ("no",),
    "WebSocketException": ("no",),
}
CLOSES = [
    (None, None, None),
    ((1000, ""), (1000, ""), True),
    ((1000, "bye"), (1000, ""), False),
    ((1001, ""), None, None),
    (None, (1011, "oops"), None),
    ((3000, ""), (3000, ""), True),
    ((4999, "x"), (4999, "x"), False),
    ((1005, ""), (1005, ""), True),
    ((1006, ""), None, None),
    ((2999, ""), None, None),
]
HEADERS = {
    "repr": lambda h: repr(h),
    "str": lambda h: str(h),
    "len": lambda h: len(h),
    "list": lambda h: list(h),
    "raw_items": lambda h: list(h.raw_items()),
    "get_all": lambda h: (h.get_all("a"), h.get_all("A"), h.get_all("none")),
    "one value": lambda h: h["B"],
    "several values": lambda h: h["a"],
    "no value": lambda h: h["none"],
    "get": lambda h: (h.get("b"), h.get("none"), h.get("none", "x")),
    "get several": lambda h: h.get("a"),
    "in": lambda h: ("B" in h, "none" in h),
    "set adds": lambda h: (h.__setitem__("b", "3"), h.get_all("b"))[1],
    "set what breaks out": lambda h: h.__setitem__("x", "a\r\nb"),
    "delete": lambda h: (h.__delitem__("A"), list(h))[1],
    "delete none": lambda h: h.__delitem__("none"),
    "clear": lambda h: (h.clear(), len(h))[1],
    "copy": lambda h: (h.copy() == h, h.copy() is h),
    "serialize": lambda h: h.serialize(),
    "update with pairs": lambda h: (h.update([("b", "4")]), h.get_all("b"))[1],
    "update with a mapping": lambda h: (h.update({"c": "5"}), h["C"])[1],
    "update with headers": lambda h: (h.update(type(h)([("c", "1"), ("c", "2")])), h.get_all("c"))[1],
    "setdefault": lambda h: (h.setdefault("b", "x"), h.setdefault("n", "y")),
    "pop": lambda h: (h.pop("b"), "b" in h),
    "equal": lambda h: (h == type(h)(b="1"), type(h)(B="1") == type(h)(b="1"), h == {"b": "1"}),
    "of a mapping": lambda h: list(type(h)({"x": "1"}).raw_items()),
    "of keywords": lambda h: list(type(h)(x="1").raw_items()),
    "isinstance of MutableMapping": lambda h: (
        __import__("collections.abc").abc.MutableMapping in type(h).__mro__
    ),
}
URIS = [
    "ws://localhost/",
    "wss://localhost",
    "ws://localhost:80/a?b",
    "ws://localhost:8001/a%20b",
    "ws://user:pass%20word@h/",
    "wss://[::1]:9/x",
    "ws://HOST/",
    "http://localhost/",
    "ws://",
    "ws://h/#f",
    "ws://user@h/",
    "localhost",
]


def libraries() -> None:
    """Nothing: websockets_sync has them."""


def fill(table: Table) -> None:
    """Adds the probes."""
    for module, names in NAMES.items():
        for name in names.split():
            table.add(
                f"name {module}.{name}",
                lambda lib, module=module, name=name: hasattr(getattr(lib, module.replace(".", "_")), name),
            )
    for name in NAMES["exceptions"].split():
        table.add(f"bases of {name}", lambda lib, name=name: _bases(getattr(lib.exceptions, name)))
    for name, given in MADE.items():
        table.add(f"str of {name}", lambda lib, name=name, given=given: _made(lib, name, given))
    table.each("ConnectionClosed{}", CLOSES, _closed)
    table.add("InvalidStatus of a response", _invalid_status)
    for name, question in HEADERS.items():
        table.add(f"Headers: {name}", lambda lib, question=question: question(_headers(lib)))
    table.each("parse_uri {}", URIS, _uri)
    table.each("CloseCode {}", range(1000, 1016), lambda lib, code: _name(lib.frames.CloseCode, code))
    table.each("State {}", range(5), lambda lib, number: _name(lib.protocol.State, number))
    table.each("Side {}", range(3), lambda lib, number: _name(lib.protocol.Side, number))
    table.add("Opcodes", lambda lib: [(code.name, code.value) for code in lib.frames.Opcode])
    table.add("Close: str, repr, ==", _close)
    _fill_header_functions(table)
    table.add("Request: serialize", lambda lib: _request(lib).serialize())
    table.add("Response: serialize", lambda lib: _response(lib).serialize())
    table.add("basic_auth: neither", lambda lib: lib.sync_server.basic_auth())
    table.add("basic_auth: both", lambda lib: lib.sync_server.basic_auth("", ("a", "b"), lambda a, b: True))
    table.add("basic_auth: no pair", lambda lib: lib.sync_server.basic_auth("", ["a"]))
    table.add("connect: parameters", lambda lib: _documented(lib.sync_client.connect, CONNECT))


CONNECT = ("uri", "legacy")


def _documented(function: Any, names: tuple[str, ...]) -> object:
    return [name in inspect.signature(function).parameters for name in names]


def _bases(kind: type) -> list[str]:
    """Which of the documented classes it is one of."""
    known = [base.__name__ for base in kind.__mro__ if base.__module__.endswith("websockets.exceptions")]
    system = [base.__name__ for base in (OSError, RuntimeError, AssertionError) if issubclass(kind, base)]
    return sorted(set(known)) + system


def _made(lib: Any, name: str, given: tuple[Any, ...]) -> object:
    error = getattr(lib.exceptions, name)(*given)
    return str(error), error.args, {key: getattr(error, key, None) for key in ("uri", "msg", "name", "value")}


def _closed(lib: Any, case: Any) -> object:
    rcvd, sent = (None if frame is None else lib.frames.Close(*frame) for frame in case[:2])
    error = lib.exceptions.ConnectionClosed(rcvd, sent, case[2])
    return str(error), error.rcvd, error.sent, error.rcvd_then_sent, error.code, error.reason


def _invalid_status(lib: Any) -> object:
    error = lib.exceptions.InvalidStatus(_response(lib))
    return str(error), error.response.status_code


def _response(lib: Any) -> Any:
    return lib.http11.Response(404, "Not Found", lib.datastructures.Headers(A="b"), b"no")


def _request(lib: Any) -> Any:
    return lib.http11.Request("/a?b", lib.datastructures.Headers(Host="h"))


def _headers(lib: Any) -> Any:
    return lib.datastructures.Headers([("A", "1"), ("b", "2"), ("a", "3")])


def _uri(lib: Any, text: str) -> object:
    uri = lib.uri.parse_uri(text)
    parts = [
        getattr(uri, name) for name in ("secure", "host", "port", "path", "query", "username", "password")
    ]
    return parts, uri.resource_name, uri.user_info


def _name(kind: Any, number: int) -> object:
    return kind(number).name


def _close(lib: Any) -> object:
    close = lib.frames.Close(1000, "bye")
    return str(close), repr(close), close == lib.frames.Close(1000, "bye"), close.code, close.reason


def _fill_header_functions(table: Table) -> None:
    questions = {
        "build_authorization_basic": [("u", "p:ä")],
        "parse_authorization_basic": [
            ("Basic dTpw",),
            ("basic dTpw",),
            ("Digest x",),
            ("Basic !!",),
            ("Basic eA==",),
        ],
        "build_www_authenticate_basic": [('a "b"',)],
        "build_host": [("h", 80, False), ("h", 81, False), ("::1", 443, True), ("h", 443, False)],
        "parse_connection": [("Upgrade, x",), ("keep-alive,Upgrade",), (",",)],
        "parse_upgrade": [("websocket",), ("h2c, websocket",)],
        "parse_subprotocol": [("a, b ,c",), ("a b",)],
        "build_subprotocol": [(["a", "b"],)],
        "validate_subprotocols": [("a",), (["a b"],), (["a"],)],
    }
    for function, cases in questions.items():
        for given in cases:
            table.add(
                f"headers.{function}{given}",
                lambda lib, function=function, given=given: attempt(
                    lambda: getattr(lib.headers, function)(*given)
                ),
            )
