"""Probes of handshakes: what a server answers, what a client makes of answers, and the options of both."""

from __future__ import annotations

import http
import os
import re
import socket
import tempfile
import threading
from typing import Any

from parity_probes.peers import (
    LOOPBACK,
    WAIT,
    answering,
    both,
    connected,
    echo,
    hold,
    knock,
    serving,
    url,
    yes,
)
from parity_probes.probing import Table, attempt

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
ANSWERS: list[tuple[str, Any]] = [
    ("404", lambda r: b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nX-A: 1\r\n\r\nno"),
    ("401", lambda r: b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"),
    ("200", lambda r: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
    ("503", lambda r: b"HTTP/1.1 503 Busy\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"),
    ("no Connection", lambda r: yes(r).replace(b"Connection: Upgrade\r\n", b"")),
    ("no Upgrade", lambda r: yes(r).replace(b"Upgrade: websocket\r\n", b"")),
    ("another Upgrade", lambda r: yes(r).replace(b"Upgrade: websocket", b"Upgrade: h2c")),
    ("no accept", lambda r: re.sub(rb"Sec-WebSocket-Accept: [^\r]*\r\n", b"", yes(r))),
    ("wrong accept", lambda r: re.sub(rb"Accept: [^\r]*", b"Accept: AAAA", yes(r))),
    ("two accepts", lambda r: yes(r, "Sec-WebSocket-Accept: AAAA")),
    ("a subprotocol not offered", lambda r: yes(r, "Sec-WebSocket-Protocol: chat")),
    ("an extension not offered", lambda r: yes(r, "Sec-WebSocket-Extensions: x-unknown")),
    ("no HTTP", lambda r: b"SSH-2.0-OpenSSH_9\r\n\r\n"),
    ("nothing", lambda r: b""),
    ("half a head", lambda r: b"HTTP/1.1 101 Switching Protocols\r\nUpgr"),
    ("HTTP/1.0", lambda r: b"HTTP/1.0 404 Not Found\r\n\r\n"),
    ("repeated headers", lambda r: yes(r, "X-A: 1", "X-A: 2")),
]
BAD_URIS = ["http://127.0.0.1/", "ws://127.0.0.1/#x", "ws://", "127.0.0.1"]
REASONS: list[tuple[str, dict[str, Any]]] = [
    ("a ws address with ssl", {"ssl": True}),
    ("an unknown option", {"no_such_option": 1}),
]
STATUSES = (200, 204, 301, 400, 401, 403, 404, 418, 500, 503)


def fill(table: Table) -> None:
    """Adds the probes."""
    table.each("knock: {}", KNOCKS, lambda lib, case: _knock(lib, **case[1]))
    table.each("origin {}", ORIGINS, lambda lib, case: _origin(lib, case[1], case[2]))
    table.each("subprotocols: {}", SUBPROTOCOLS, lambda lib, case: _subprotocol(lib, case[1], case[2]))
    table.each("answer {}", ANSWERS, lambda lib, case: _answered(lib, case[1]))
    table.each("connect to {}", BAD_URIS, lambda lib, uri: connected(lib, uri))
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
        return _connects(lib, url(server), origin=origin)


def _subprotocol(lib: Any, ours: list[str] | None, theirs: list[str] | None) -> object:
    with serving(lib, lambda w: w.send(str(w.subprotocol)), subprotocols=ours) as server:
        return _connects(lib, url(server), subprotocols=theirs, ask=lambda w: (w.subprotocol, w.recv(WAIT)))


def _connects(lib: Any, address: str, *, ask: Any = lambda w: "open", **options: Any) -> object:
    """What becomes of an attempt to connect; of a refusal, what its exception says."""
    try:
        with connected(lib, address, **options) as websocket:
            return ask(websocket)
    except lib.exceptions.InvalidStatus as error:
        return "InvalidStatus", error.response.status_code, str(error)
    except Exception as error:
        return error


def _answered(lib: Any, answer: Any) -> object:
    def ask(websocket: Any) -> object:
        return websocket.response.headers.get_all("X-A")

    with answering(answer, stays=False, patience=0.3) as address:
        try:
            with connected(lib, address, open_timeout=5, close_timeout=0.2) as websocket:
                return ask(websocket)
        except lib.exceptions.InvalidStatus as error:
            r = error.response
            return r.status_code, r.reason_phrase, r.headers.get_all("X-A"), bytes(r.body), str(error)
        except Exception as error:
            return error, isinstance(error, OSError), isinstance(error, lib.exceptions.InvalidHandshake)


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
        return _connects(lib, url(server), **({"ask": ask} if ask else {}))


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
        _connects(lib, url(server), origin="https://b")
    return seen


def _attribute_of_hook(lib: Any) -> object:
    def process_request(connection: Any, request: Any) -> None:
        connection.user = "ann"

    with serving(lib, lambda w: w.send(w.user), process_request=process_request) as server:
        return _connects(lib, url(server), ask=lambda w: w.recv(WAIT))


def _select(lib: Any, chosen: Any) -> object:
    def select(connection: Any, offered: Any) -> Any:
        return chosen(lib, offered)

    with serving(lib, hold, select_subprotocol=select) as server:
        return _connects(lib, url(server), subprotocols=["a", "b"], ask=lambda w: w.subprotocol)


def _negotiation_fails(lib: Any, offered: Any) -> Any:
    raise lib.exceptions.NegotiationError("none of yours")


def _server_header(lib: Any, **options: Any) -> object:
    def ask(websocket: Any) -> object:
        value = websocket.response.headers.get("Server")
        return value if value is None or value == "mine" else value.split("/")[0]

    return _hook(lib, ask, **options)


def _user_agent(lib: Any, **options: Any) -> object:
    with serving(lib, lambda w: w.send(str(w.request.headers.get("User-Agent")).split("/")[0])) as server:
        return _connects(lib, url(server), ask=lambda w: w.recv(WAIT), **options)


def _compression(lib: Any, server: Any, client: Any) -> object:
    with serving(lib, hold, compression=server) as running:
        return _connects(
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
        return _connects(
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
        return _connects(lib, url(server), ask=lambda w: (type(w), w.recv(WAIT)), create_connection=MyClient)


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


def _given_socket(lib: Any) -> object:
    listener = socket.create_server((LOOPBACK, 0))
    with lib.sync_server.serve(hold, sock=listener) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        same = server.socket.getsockname() == listener.getsockname()
        sock = socket.create_connection(listener.getsockname())
        answer = _connects(lib, "ws://elsewhere.invalid/", sock=sock, ask=lambda w: w.request.headers["Host"])
        server.shutdown()
        thread.join(WAIT)
    return same, answer


def _unix(lib: Any) -> object:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        with lib.sync_server.unix_serve(echo, path) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            with lib.sync_client.unix_connect(path, legacy=True) as websocket:
                websocket.send("hi")
                answer = websocket.recv(WAIT), websocket.request.headers["Host"]
            server.shutdown()
            thread.join(WAIT)
    return answer


def _refused(lib: Any) -> object:
    with socket.create_server((LOOPBACK, 0)) as listener:
        address = listener.getsockname()
    try:
        connected(lib, f"ws://{LOOPBACK}:{address[1]}/")
    except OSError as error:
        return error, error.errno
    return "connected"


def _unknown_host(lib: Any) -> object:
    try:
        connected(lib, "ws://no-such-host.invalid/")
    except OSError as error:
        return error, error.errno is not None
    return "connected"


def _timeout(lib: Any) -> object:
    with socket.create_server((LOOPBACK, 0)) as listener:  # the kernel accepts, and nobody answers
        return attempt(
            lambda: connected(lib, f"ws://{LOOPBACK}:{listener.getsockname()[1]}/", open_timeout=0.1)
        )


def _tls_to_plain(lib: Any) -> object:
    with serving(lib, hold) as server:
        address = url(server).replace("ws://", "wss://")
        try:
            connected(lib, address, open_timeout=5)
        except OSError as error:
            import ssl

            return isinstance(error, ssl.SSLError)
    return "connected"


def _redirect(lib: Any, status: int, target: str = "") -> object:
    with serving(lib, lambda w: w.send(w.request.path)) as server:
        location = target or url(server, "/there")
        head = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        with answering(lambda request: head.encode(), stays=False) as address:
            return _connects(lib, address, ask=lambda w: w.recv(WAIT), open_timeout=5)


def _proxied(lib: Any, answer: bytes, **options: Any) -> object:
    """A proxy for HTTP CONNECT that answers by hand; what it was asked, and what became of it."""
    asked: list[str] = []

    def proxy(request: bytes) -> bytes:
        lines = request.decode().split("\r\n")
        asked.extend(line for line in lines if line.startswith(("CONNECT", "Host", "Proxy-Auth")))
        return answer

    with answering(proxy, stays=False) as address:
        where = address.replace("ws://", "http://ann:secret@")
        result = _connects(lib, "ws://server.invalid:81/", proxy=where, open_timeout=5)
    return asked, result


def _shutdown(lib: Any, **how: Any) -> object:
    opened = threading.Event()

    def handler(websocket: Any) -> None:
        opened.set()
        hold(websocket)

    with serving(lib, handler) as server:
        websocket = connected(lib, url(server))
        opened.wait(WAIT)
        before = len(server.connections)
        server.shutdown(**how)
        try:
            websocket.recv(WAIT)
        except Exception as error:
            return (
                before,
                error,
                str(error),
                len(server.connections),
                attempt(lambda: connected(lib, url(server))),
            )
    return "nothing"


def _shutdown_leaves(lib: Any) -> object:
    ended: list[object] = []
    opened = threading.Event()

    def handler(websocket: Any) -> None:
        opened.set()
        ended.extend(websocket)

    with lib.sync_server.serve(handler, LOOPBACK, 0) as server:
        forever = threading.Thread(target=server.serve_forever, daemon=True)
        forever.start()
        websocket = connected(lib, url(server))
        opened.wait(WAIT)
        ending = threading.Thread(target=lambda: server.shutdown(close_connections=False), daemon=True)
        ending.start()
        forever.join(1)
        websocket.send("still here")
        websocket.close()
        ending.join(WAIT)
    return ended, websocket.close_code, ending.is_alive()


def _broadcast(lib: Any, message: Any, **options: Any) -> object:
    opened: list[Any] = []
    there = threading.Semaphore(0)

    def handler(websocket: Any) -> None:
        opened.append(websocket)
        there.release()
        hold(websocket)

    with serving(lib, handler) as server, connected(lib, url(server)) as a, connected(lib, url(server)) as b:
        there.acquire(timeout=WAIT)
        there.acquire(timeout=WAIT)
        result = attempt(lambda: lib.sync_server.broadcast(opened, message, **options))
        if str(result).startswith("raises"):
            return result
        return result, a.recv(WAIT), b.recv(WAIT)


def _broadcast_to_closed(lib: Any) -> object:
    with both(lib, echo) as websocket:
        websocket.close()
        return lib.sync_server.broadcast([websocket], "x", raise_exceptions=True)


def _broadcast_in_fragments(lib: Any) -> object:
    with both(lib, echo) as websocket:
        found: list[object] = []

        def pieces() -> Any:
            yield "a"
            found.append(attempt(lambda: lib.sync_server.broadcast([websocket], "x")))
            found.append(attempt(lambda: lib.sync_server.broadcast([websocket], "x", raise_exceptions=True)))
            yield "b"

        websocket.send(pieces())
        return found, websocket.recv(WAIT)


def _fragments_on_the_wire(lib: Any) -> object:
    """Each piece has left before the next one is made."""
    with both(lib, echo, compression=None, client={"compression": None}) as websocket:
        seen: list[bool] = []

        def pieces() -> Any:
            for piece in ("a", "b"):
                yield piece
                # The pong comes behind whatever the server has read before it.
                seen.append(websocket.ping().wait(WAIT))

        websocket.send(pieces())
        return seen, websocket.recv(WAIT)


def _reconnect(lib: Any, calls: int = 3, **options: Any) -> object:
    with serving(lib, lambda w: w.send("hi")) as server:
        found = []
        for websocket in lib.sync_client.reconnect(url(server), proxy=None, **options):
            found.append(websocket.recv(WAIT))
            if len(found) == calls:
                break
        return found


def _reconnect_as_block(lib: Any) -> object:
    with serving(lib, echo) as server, lib.sync_client.reconnect(url(server), proxy=None) as websocket:
        websocket.send("x")
        return websocket.recv(WAIT)


def _reconnect_after_failures(lib: Any) -> object:
    seen: list[object] = []

    def process_exception(error: Exception) -> Exception | None:
        seen.append(attempt(lambda: _throw(error)))
        return None if len(seen) < 3 else error

    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
    how = {
        "process_exception": process_exception,
        "proxy": None,
        "reconnect_delays": lambda: iter([0, 0, 0, 0]),
    }
    return attempt(lambda: next(iter(lib.sync_client.reconnect(f"ws://{LOOPBACK}:{port}/", **how)))), seen


def _throw(error: Exception) -> None:
    raise error


def _reconnect_fatal(lib: Any) -> object:
    with serving(lib, hold, process_request=lambda c, r: c.respond(403, "no\n")) as server:
        return attempt(lambda: next(iter(lib.sync_client.reconnect(url(server), proxy=None))))


def _routed(lib: Any, path: str) -> object:
    from werkzeug.routing import Map, Rule

    def greet(websocket: Any, name: str) -> None:
        websocket.send(f"hello {name}")

    table = Map([Rule("/greet/<name>", endpoint=greet), Rule("/old", redirect_to="greet/ann")])
    with lib.sync_router.route(table, LOOPBACK, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        answer = _connects(lib, url(server, path), ask=lambda w: w.recv(WAIT))
        server.shutdown()
        thread.join(WAIT)
    return answer


def _limit(lib: Any, size: Any, message: Any) -> object:
    with both(lib, echo, max_size=size) as websocket:
        websocket.send(message)
        try:
            return len(websocket.recv(WAIT))
        except Exception as error:
            return error, error.rcvd.code


def _keyboard(lib: Any) -> object:
    """Iterating over a connection that its server closes well."""
    with both(lib, lambda w: [w.send(word) for word in ("a", "b")]) as websocket:
        return list(websocket)


def _mute(lib: Any) -> object:
    with answering(yes) as address:
        websocket = connected(lib, address, close_timeout=0.2, compression=None)
        websocket.close()
        try:
            websocket.recv()
        except Exception as error:
            return error, error.sent, error.rcvd, str(error), websocket.close_code, websocket.state


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
    "user_agent_header: mine": lambda lib: _user_agent(lib, user_agent_header="mine"),
    "user_agent_header: none": lambda lib: _user_agent(lib, user_agent_header=None),
    "user_agent_header: usual": _user_agent,
    "user_agent_header: among the headers": lambda lib: _user_agent(
        lib, additional_headers={"User-Agent": "other"}
    ),
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
    "sock of both": _given_socket,
    "unix": _unix,
    "nobody listens": _refused,
    "unknown host": _unknown_host,
    "nobody answers in time": _timeout,
    "TLS where there is none": _tls_to_plain,
    "redirect 301": lambda lib: _redirect(lib, 301),
    "redirect 302": lambda lib: _redirect(lib, 302),
    "redirect 307": lambda lib: _redirect(lib, 307),
    "redirect 308": lambda lib: _redirect(lib, 308),
    "redirect to a path": lambda lib: _redirect(lib, 302, "/"),
    "redirect to HTTP": lambda lib: _redirect(lib, 302, "http://127.0.0.1:9/"),
    "proxy says yes and hangs up": lambda lib: _proxied(lib, b"HTTP/1.1 200 OK\r\n\r\n"),
    "proxy refuses": lambda lib: _proxied(lib, b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n"),
    "proxy speaks no HTTP": lambda lib: _proxied(lib, b"SSH-2.0\r\n\r\n"),
    "proxy with another scheme": lambda lib: connected(lib, "ws://127.0.0.1/", proxy="ftp://h"),
    "proxy without host": lambda lib: connected(lib, "ws://127.0.0.1/", proxy="http://"),
    "ssl for a ws address": lambda lib: connected(
        lib, "ws://127.0.0.1/", ssl=__import__("ssl").create_default_context()
    ),
    "connect: unknown option": lambda lib: connected(lib, "ws://127.0.0.1:9/", no_such_option=1),
    "serve: unknown option": lambda lib: lib.sync_server.serve(hold, LOOPBACK, 0, no_such_option=1),
    "proxy by TLS": lambda lib: connected(lib, "ws://127.0.0.1/", proxy="https://127.0.0.1:9"),
    "extensions: compress_settings": lambda lib: (
        lib.extensions_permessage_deflate.ServerPerMessageDeflateFactory(compress_settings={"memLevel": 4})
    ),
    "connect(uri=)": lambda lib: lib.sync_client.connect(uri="x"),
    "subprotocols as text": lambda lib: connected(lib, "ws://127.0.0.1:9/", subprotocols="chat"),
    "serve: subprotocols as text": lambda lib: lib.sync_server.serve(hold, LOOPBACK, 0, subprotocols="chat"),
    "shutdown": _shutdown,
    "shutdown with a code": lambda lib: _shutdown(lib, code=1012, reason="again"),
    "shutdown leaves connections": _shutdown_leaves,
    "shutdown twice": lambda lib: _twice(lib),
    "broadcast: text": lambda lib: _broadcast(lib, "hi"),
    "broadcast: bytes": lambda lib: _broadcast(lib, b"hi"),
    "broadcast: bytes as text": lambda lib: _broadcast(lib, b"hi", text=True),
    "broadcast: text as bytes": lambda lib: _broadcast(lib, "hi", text=False),
    "broadcast: raise_exceptions": lambda lib: _broadcast(lib, "hi", raise_exceptions=True),
    "broadcast: number": lambda lib: _broadcast(lib, 3),
    "broadcast: list": lambda lib: _broadcast(lib, ["a"]),
    "broadcast: nobody": lambda lib: lib.sync_server.broadcast([], "x"),
    "broadcast: to a closed one": _broadcast_to_closed,
    "broadcast: amid fragments": _broadcast_in_fragments,
    "broadcast: max_workers": lambda lib: _broadcast(lib, "hi", max_workers=2),
    "send: pieces leave one by one": _fragments_on_the_wire,
    "reconnect": _reconnect,
    "reconnect: as a block": _reconnect_as_block,
    "reconnect: process_exception": _reconnect_after_failures,
    "reconnect: a fatal refusal": _reconnect_fatal,
    "route: found": lambda lib: _routed(lib, "/greet/ann"),
    "route: not found": lambda lib: _routed(lib, "/none"),
    "route: redirect": lambda lib: _routed(lib, "/old"),
    "max_size: below": lambda lib: _limit(lib, 10, "x" * 10),
    "max_size: above": lambda lib: _limit(lib, 10, "x" * 11),
    "max_size: of two": lambda lib: _limit(lib, (10, None), "x" * 11),
    "max_size: none": lambda lib: _limit(lib, None, "x" * (2 << 20)),
    "max_size: of a fragment": lambda lib: _limit(lib, (100, 10), "x" * 11),
    "max_queue: none": lambda lib: _queue(lib, None),
    "max_queue: two": lambda lib: _queue(lib, (4, 1)),
    "iteration ends well": _keyboard,
    "a peer that does not answer the close": _mute,
}


def _twice(lib: Any) -> object:
    with serving(lib, hold) as server:
        return attempt(server.shutdown), attempt(server.shutdown)


def _queue(lib: Any, max_queue: Any) -> object:
    with both(lib, echo, client={"max_queue": max_queue}) as websocket:
        for number in range(40):
            websocket.send(str(number))
        return [websocket.recv(WAIT) for _ in range(40)]
