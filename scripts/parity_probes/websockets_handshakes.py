"""Probes of handshakes as a server sees them: its answers, and the hooks and options that it has for them."""

from __future__ import annotations

import http
import re
from typing import Any

from parity_probes.peers import (
    WAIT,
    connected,
    hold,
    knock,
    serving,
    url,
)
from parity_probes.probing import Table
from parity_probes.websockets_connecting import connects

KNOCKS: list[tuple[str, dict[str, Any]]] = [
    ("as it should be", {}),
    ("no Upgrade", {"drop": "Upgrade"}),
    ("no Connection", {"drop": "Connection"}),
    ("no key", {"drop": "Sec-WebSocket-Key"}),
    ("no version", {"drop": "Sec-WebSocket-Version"}),
    ("POST", {"method": "POST"}),
    ("HTTP/1.0", {"version": "HTTP/1.0"}),
    ("version 8", {"more": ("Sec-WebSocket-Version: 8",), "drop": "Sec-WebSocket-Version"}),
    ("short key", {"more": ("Sec-WebSocket-Key: AAAA",), "drop": "Sec-WebSocket-Key"}),
    ("upper-case words", {"more": ("Upgrade: WebSocket", "Connection: UPGRADE"), "drop": "Upgrade"}),
    ("keep-alive too", {"more": ("Connection: keep-alive, Upgrade",), "drop": "Connection"}),
    ("a subprotocol nobody asked about", {"more": ("Sec-WebSocket-Protocol: chat",)}),
    ("an unknown extension", {"more": ("Sec-WebSocket-Extensions: x-unknown",)}),
]
ORIGINS: list[tuple[str, list[Any], str | None]] = [
    ("listed", ["https://a.example"], "https://a.example"),
    ("not listed", ["https://a.example"], "https://b.example"),
    ("missing", ["https://a.example"], None),
    ("missing and allowed", [None, "https://a.example"], None),
    ("pattern", [re.compile(r"https://.*\.example")], "https://c.example"),
    ("pattern that does not match", [re.compile(r"https://.*\.example")], "https://c.example.org"),
]
SUBPROTOCOLS: list[tuple[str, list[str] | None, list[str] | None]] = [
    ("none", None, None),
    ("both the same", ["chat"], ["chat"]),
    ("server's order", ["b", "a"], ["a", "b"]),
    ("only the server's", ["chat"], None),
    ("only the client's", None, ["chat"]),
    ("nothing in common", ["chat"], ["other"]),
]
STATUSES = (200, 204, 301, 400, 401, 403, 404, 418, 500, 503)


def fill(table: Table) -> None:
    """Adds the probes."""
    table.each("knock: {}", KNOCKS, lambda lib, case: _knock(lib, **case[1]))
    table.each("origin {}", ORIGINS, lambda lib, case: _origin(lib, case[1], case[2]))
    table.each("subprotocols: {}", SUBPROTOCOLS, lambda lib, case: _subprotocol(lib, case[1], case[2]))
    table.each("process_request answers {}", STATUSES, _process_request)
    for name, ask in ASKED.items():
        table.add(name, ask)


def _knock(lib: Any, *, more: tuple[str, ...] = (), **how: Any) -> object:
    with serving(lib, hold) as server:
        status, headers, _ = knock(server, *more, **how)
        names = (
            "upgrade",
            "connection",
            "sec-websocket-accept",
            "sec-websocket-protocol",
            "sec-websocket-version",
        )
        known = {name: headers[name] for name in names if name in headers}
        if status != 101:
            known.pop("connection", None)  # close, in other words
        return status, known, "server" in headers, "date" in headers


def _origin(lib: Any, origins: list[Any], origin: str | None) -> object:
    with serving(lib, hold, origins=origins) as server:
        return connects(lib, url(server), origin=origin)


def _subprotocol(lib: Any, ours: list[str] | None, theirs: list[str] | None) -> object:
    with serving(lib, lambda w: w.send(str(w.subprotocol)), subprotocols=ours) as server:
        return connects(lib, url(server), subprotocols=theirs, ask=lambda w: (w.subprotocol, w.recv(WAIT)))


def _process_request(lib: Any, status: int) -> object:
    def process_request(connection: Any, request: Any) -> Any:
        response = connection.respond(http.HTTPStatus(status), "body\n")
        response.headers["X-A"] = "b"
        return response

    with serving(lib, hold, process_request=process_request) as server:
        found, headers, body = knock(server)
        return found, headers.get("x-a"), headers.get("content-type"), body


def _respond(lib: Any) -> object:
    seen: list[object] = []

    def process_request(connection: Any, request: Any) -> Any:
        response = connection.respond(404, "no\n")
        seen.extend([response.status_code, response.reason_phrase, response.body, sorted(response.headers)])
        seen.append(response.headers["Content-Type"])
        return response

    with serving(lib, hold, process_request=process_request) as server:
        knock(server)
    return seen


def _request_seen(lib: Any) -> object:
    def handler(websocket: Any) -> None:
        request = websocket.request
        websocket.send(repr((request.path, request.method, request.protocol, request.headers.get_all("X-A"))))

    options = {"additional_headers": [("X-A", "1"), ("X-A", "2")]}
    with (
        serving(lib, handler) as server,
        connected(lib, url(server, "/file/a%2Fb%20c?x=%2F&y"), **options) as websocket,
    ):
        return websocket.recv(WAIT), websocket.request.headers.get_all("X-A"), websocket.request.path


def _hook(lib: Any, ask: Any = None, **hooks: Any) -> object:
    with serving(lib, hold, **hooks) as server:
        return connects(lib, url(server), **({"ask": ask} if ask else {}))


def _raising(error: Any) -> Any:
    def hook(*given: Any) -> Any:
        raise error

    return hook


def _process_response(lib: Any) -> object:
    def process_response(connection: Any, request: Any, response: Any) -> None:
        response.headers["X-A"] = str(response.status_code)

    def ask(websocket: Any) -> object:
        return websocket.response.headers["X-A"]

    return _hook(lib, ask, process_response=process_response)


def _process_response_refuses(lib: Any) -> object:
    def process_response(connection: Any, request: Any, response: Any) -> Any:
        return connection.respond(http.HTTPStatus.IM_A_TEAPOT, "teapot\n")

    return _hook(lib, process_response=process_response)


def _process_response_sees_refusals(lib: Any) -> object:
    seen: list[int] = []

    def process_response(connection: Any, request: Any, response: Any) -> None:
        seen.append(response.status_code)

    with serving(lib, hold, process_response=process_response, origins=["https://a"]) as server:
        connects(lib, url(server), origin="https://b")
    return seen


def _attribute_of_hook(lib: Any) -> object:
    def process_request(connection: Any, request: Any) -> None:
        connection.user = "ann"

    with serving(lib, lambda w: w.send(w.user), process_request=process_request) as server:
        return connects(lib, url(server), ask=lambda w: w.recv(WAIT))


def _select(lib: Any, chosen: Any) -> object:
    def select(connection: Any, offered: Any) -> Any:
        return chosen(lib, offered)

    with serving(lib, hold, select_subprotocol=select) as server:
        return connects(lib, url(server), subprotocols=["a", "b"], ask=lambda w: w.subprotocol)


def _negotiation_fails(lib: Any, offered: Any) -> Any:
    raise lib.exceptions.NegotiationError("none of yours")


def _server_header(lib: Any, **options: Any) -> object:
    def ask(websocket: Any) -> object:
        value = websocket.response.headers.get("Server")
        return value if value is None or value == "mine" else value.split("/")[0]

    return _hook(lib, ask, **options)


def _compression(lib: Any, server: Any, client: Any) -> object:
    with serving(lib, hold, compression=server) as running:
        return connects(
            lib,
            url(running),
            compression=client,
            ask=lambda w: "permessage-deflate" in w.response.headers.get("Sec-WebSocket-Extensions", ""),
        )


def _extensions(lib: Any) -> object:
    deflate = lib.extensions_permessage_deflate
    with serving(
        lib, hold, compression=None, extensions=[deflate.ServerPerMessageDeflateFactory()]
    ) as running:
        return connects(
            lib,
            url(running),
            compression=None,
            extensions=[deflate.ClientPerMessageDeflateFactory()],
            ask=lambda w: "permessage-deflate" in w.response.headers.get("Sec-WebSocket-Extensions", ""),
        )


def _create_connection(lib: Any) -> object:
    class Mine(lib.sync_server.ServerConnection):  # type: ignore[name-defined, misc]
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self.mine = "mine"

    class MyClient(lib.sync_client.ClientConnection):  # type: ignore[name-defined, misc]
        pass

    with serving(lib, lambda w: w.send(w.mine), create_connection=Mine) as server:
        return connects(lib, url(server), ask=lambda w: (type(w), w.recv(WAIT)), create_connection=MyClient)


def _basic_auth(lib: Any, address: str, **auth: Any) -> object:
    process_request = lib.sync_server.basic_auth(realm="here", **auth)
    with serving(lib, lambda w: w.send(w.username), process_request=process_request) as server:
        where = url(server).replace("//", f"//{address}")
        try:
            with connected(lib, where) as websocket:
                return websocket.recv(WAIT)
        except lib.exceptions.InvalidStatus as error:
            headers = error.response.headers
            return error.response.status_code, headers.get("WWW-Authenticate"), bytes(error.response.body)


ASKED = {
    "request as the server sees it": _request_seen,
    "respond": _respond,
    "process_request raises": lambda lib: _hook(lib, process_request=_raising(ValueError("no"))),
    "process_request returns None": lambda lib: _hook(lib, process_request=lambda c, r: None),
    "process_request sets an attribute": _attribute_of_hook,
    "process_response changes the response": _process_response,
    "process_response refuses": _process_response_refuses,
    "process_response sees refusals": _process_response_sees_refusals,
    "process_response raises": lambda lib: _hook(lib, process_response=_raising(ValueError("no"))),
    "select_subprotocol chooses": lambda lib: _select(lib, lambda lib, offered: offered[1]),
    "select_subprotocol chooses none": lambda lib: _select(lib, lambda lib, offered: None),
    "select_subprotocol refuses": lambda lib: _select(lib, _negotiation_fails),
    "select_subprotocol fails": lambda lib: _select(lib, lambda lib, offered: 1 / 0),
    "server_header: mine": lambda lib: _server_header(lib, server_header="mine"),
    "server_header: none": lambda lib: _server_header(lib, server_header=None),
    "server_header: usual": _server_header,
    "compression: both": lambda lib: _compression(lib, "deflate", "deflate"),
    "compression: client only": lambda lib: _compression(lib, None, "deflate"),
    "compression: server only": lambda lib: _compression(lib, "deflate", None),
    "compression: unknown": lambda lib: connected(lib, "ws://127.0.0.1/", compression="zip"),
    "extensions: permessage-deflate": _extensions,
    "extensions: no list of factories": lambda lib: connected(lib, "ws://127.0.0.1/", extensions=[3]),
    "create_connection": _create_connection,
    "basic_auth: good": lambda lib: _basic_auth(lib, "ann:pw@", credentials=("ann", "pw")),
    "basic_auth: bad": lambda lib: _basic_auth(lib, "ann:no@", credentials=("ann", "pw")),
    "basic_auth: missing": lambda lib: _basic_auth(lib, "", credentials=[("ann", "pw")]),
    "basic_auth: by function": lambda lib: _basic_auth(
        lib, "a:b@", check_credentials=lambda user, password: (user, password) == ("a", "b")
    ),
    "extensions: compress_settings": lambda lib: (
        lib.extensions_permessage_deflate.ServerPerMessageDeflateFactory(compress_settings={"memLevel": 4})
    ),
}
