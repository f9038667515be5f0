"""Probes of simple-websocket: its exceptions, its server under Werkzeug and its client, and how they end."""

from __future__ import annotations

import importlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from parity_probes.peers import LOOPBACK, WAIT, answering, yes
from parity_probes.probing import Table, attempt, kind

TABLE = Table("simple_websocket", "threadchat.plain.simple_websocket", least=60, share=0.9)
_ASYNCIO = "there are no `AioServer` and `AioClient`, because there is no asyncio"
TABLE.on_purpose = {
    "name AioServer": _ASYNCIO,
    "name AioClient": _ASYNCIO,
    "max_message_size: 17 MiB by default": (
        "without `max_message_size`, a message above 16 MiB is refused (1009), and the log names the option"
    ),
}


def libraries() -> tuple[Any, Any]:
    """The peer, and ours."""
    return importlib.import_module("simple_websocket"), importlib.import_module(TABLE.ours)


@contextmanager
def served(lib: Any, view: Callable[[Any], object], **options: Any) -> Iterator[str]:
    """A WSGI application under Werkzeug that accepts each WebSocket and calls `view`; its address."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, *given: Any) -> None:
            pass

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            websocket = lib.Server.accept(environ, **options)
        except lib.ConnectionError as error:
            start_response(f"{error.status_code or 400} Refused", [])
            return [b"refused"]
        try:
            view(websocket)
        except lib.ConnectionClosed:
            pass
        try:
            websocket.close()
        except Exception:
            pass
        start_response("200 OK", [])
        return []

    server = make_server(LOOPBACK, 0, application, threaded=True, request_handler=Quiet)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"ws://{LOOPBACK}:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join(WAIT)
        server.socket.close()


def echo(websocket: Any) -> None:
    while True:
        websocket.send(websocket.receive())


def hold(websocket: Any) -> None:
    while True:
        websocket.receive()


def _client(lib: Any, address: str, ask: Callable[[Any], object], **options: Any) -> object:
    websocket = lib.Client.connect(address, **options)
    try:
        return ask(websocket)
    finally:
        attempt(websocket.close)


def _asked(lib: Any, ask: Callable[[Any], object], view: Any = echo, **options: Any) -> object:
    with served(lib, view, **options) as address:
        return _client(lib, address, ask)


def _said(websocket: Any) -> object:
    """What comes until the end, and the end."""
    found: list[object] = []
    try:
        while True:
            found.append(websocket.receive(WAIT))
    except Exception as error:
        return found, kind(error), int(error.reason), error.message or "", websocket.connected


def _server_says(lib: Any, act: Callable[[Any], object], **options: Any) -> object:
    """What the server's side answers to `act`, while a client holds."""
    answers: list[object] = []
    done = threading.Event()

    def view(websocket: Any) -> None:
        answers.append(attempt(lambda: act(websocket)))
        done.set()

    with served(lib, view, **options) as address:
        _client(lib, address, lambda w: done.wait(WAIT))
    return answers


def _server_sees(lib: Any, act: Callable[[Any], object]) -> object:
    """How the server's `receive` ends when the client does `act`."""
    answers: list[object] = []
    done = threading.Event()

    def view(websocket: Any) -> None:
        answers.append(_said(websocket))
        done.set()

    with served(lib, view) as address:
        _client(lib, address, act)
        done.wait(WAIT)
    return answers


def _made(lib: Any, name: str, given: tuple[Any, ...], named: dict[str, Any]) -> object:
    error = getattr(lib, name)(*given, **named)
    return str(error), {key: getattr(error, key, None) for key in ("reason", "message", "status_code")}


def _refused(lib: Any, answer: bytes) -> object:
    with answering(lambda request: answer, stays=False) as address:
        try:
            lib.Client.connect(address)
        except lib.ConnectionError as error:
            return "ConnectionError", error.status_code
    return "connected"


def _fed(lib: Any, frames: bytes) -> object:
    with answering(yes, stays=False, then=frames) as address:
        websocket = lib.Client.connect(address)
        websocket.send("go")
        found = _said(websocket)
        attempt(websocket.close)
        return found


def _no_handshake(lib: Any, **change: Any) -> object:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/",
            "HTTP_HOST": "here",
            "HTTP_CONNECTION": "Upgrade",
            "HTTP_UPGRADE": "websocket",
            "HTTP_SEC_WEBSOCKET_VERSION": "13",
            "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
            "werkzeug.socket": ours,
            "wsgi.multithread": True,
        }
        environ = {name: value for name, value in {**environ, **change}.items() if value is not None}
        try:
            websocket = lib.Server.accept(environ)
        except Exception:
            return "raises"
        attempt(websocket.close)
        return "accepted"


class Chooser:
    """Makes a Server that chooses its subprotocol by itself."""

    def __init__(self, lib: Any) -> None:
        class Mine(lib.Server):  # type: ignore[name-defined, misc]
            def choose_subprotocol(self, request: Any) -> Any:
                return request.subprotocols[-1]

        self.Server = Mine
        self.Client, self.ConnectionClosed, self.ConnectionError = (
            lib.Client,
            lib.ConnectionClosed,
            lib.ConnectionError,
        )


def _subprotocol(lib: Any, ours: Any, theirs: Any) -> object:
    with served(
        lib, lambda w: (w.receive(WAIT), w.send(str(w.subprotocol)), hold(w)), subprotocols=ours
    ) as address:
        return _client(
            lib, address, lambda w: (w.send("go"), w.receive(WAIT), w.subprotocol)[1:], subprotocols=theirs
        )


def _many(lib: Any) -> object:
    def ask(websocket: Any) -> object:
        for number in range(100):
            websocket.send(str(number))
        return [websocket.receive(WAIT) for _ in range(100)]

    return _asked(lib, ask)


def _header(lib: Any) -> object:
    with served(
        lib, lambda w: (w.receive(WAIT), w.send(w.environ.get("HTTP_X_A", "none")), hold(w))
    ) as address:
        return _client(lib, address, lambda w: (w.send("go"), w.receive(WAIT))[1], headers={"X-A": "b"})


MESSAGES: list[tuple[str, Any]] = [
    ("text", "hi"),
    ("empty text", ""),
    ("long text", "ü" * 30_000),
    ("bytes", b"\0\xff"),
    ("empty bytes", b""),
    ("a number", 5),
    ("none", None),
    ("a list", [1, 2]),
    ("300 KB", b"x" * 300_000),
    ("2 MB", b"x" * 2_000_000),
]
MADE: list[tuple[str, str, tuple[Any, ...], dict[str, Any]]] = [
    ("nothing", "ConnectionClosed", (), {}),
    ("code", "ConnectionClosed", (1001,), {}),
    ("code and text", "ConnectionClosed", (1000, "x"), {}),
    ("message by name", "ConnectionClosed", (), {"message": "m"}),
    ("both by name", "ConnectionClosed", (), {"reason": 4000, "message": "m"}),
    ("no status", "ConnectionError", (), {}),
    ("status", "ConnectionError", (404,), {}),
    ("status by name", "ConnectionError", (), {"status_code": 401}),
]
ENDS: list[tuple[str, Callable[[Any], object]]] = [
    ("close()", lambda w: w.close()),
    ("close(4000)", lambda w: w.close(4000)),
    ("close(4000, text)", lambda w: w.close(4000, "why")),
    ("close by names", lambda w: w.close(reason=4001, message="m")),
    ("close(message)", lambda w: w.close(message="only")),
    ("a message, then close", lambda w: (w.send("x"), w.close(1001, "later"))),
]
FRAMES: list[tuple[str, bytes]] = [
    ("1000", b"\x88\x02\x03\xe8"),
    ("4000 with text", b"\x88\x05\x0f\xa0why"),
    ("no code", b"\x88\x00"),
    ("messages, then 1000", b"\x81\x01a\x82\x01b\x88\x02\x03\xe8"),
    ("fragments, then 1001", b"\x01\x01a\x80\x01b\x88\x02\x03\xe9"),
]
MEMBERS = ["send", "receive", "close", "connected", "subprotocol", "close_reason", "close_message", "mode"]
KNOWN: list[tuple[str, Callable[[Any], object]]] = [
    ("connected", lambda w: w.connected),
    ("connected after close", lambda w: (w.close(), w.connected)[1]),
    ("close twice", lambda w: (w.close(), attempt(w.close))[1]),
    ("send after close", lambda w: (w.close(), attempt(lambda: w.send("x")))[1]),
    ("receive after close", lambda w: (w.close(), attempt(lambda: w.receive(0)))[1]),
    ("receive: 0", lambda w: w.receive(0)),
    ("receive: timeout", lambda w: w.receive(0.02)),
    ("receive: by name", lambda w: w.receive(timeout=0.02)),
    ("subprotocol", lambda w: w.subprotocol),
]

for message in MESSAGES:
    TABLE.add(
        f"echo {message[0]}",
        lambda lib, message=message: _asked(lib, lambda w: (w.send(message[1]), w.receive(WAIT))[1]),
    )
for name, made, given, named in MADE:
    TABLE.add(
        f"{made} of {name}",
        lambda lib, made=made, given=given, named=named: _made(lib, made, given, named),
    )
for name, act in ENDS:
    TABLE.add(f"the client ends: {name}", lambda lib, act=act: _server_sees(lib, act))
    TABLE.add(f"the server ends: {name}", lambda lib, act=act: _asked(lib, _said, act))
for name, frames in FRAMES:
    TABLE.add(f"frames: {name}", lambda lib, frames=frames: _fed(lib, frames))
for name in MEMBERS:
    TABLE.add(
        f"member of Server: {name}", lambda lib, name=name: _server_says(lib, lambda w: hasattr(w, name))
    )
    TABLE.add(f"member of Client: {name}", lambda lib, name=name: _asked(lib, lambda w: hasattr(w, name)))
for name, act in KNOWN:
    TABLE.add(f"client: {name}", lambda lib, act=act: _asked(lib, act, hold))
    TABLE.add(f"server: {name}", lambda lib, act=act: _server_says(lib, act))
for name in ("Server", "Client", "ConnectionClosed", "ConnectionError", "AioServer", "AioClient"):
    TABLE.add(f"name {name}", lambda lib, name=name: hasattr(lib, name))
for code in (200, 401, 403, 404, 500):
    TABLE.add(
        f"client: answered {code}",
        lambda lib, code=code: _refused(lib, f"HTTP/1.1 {code} No\r\nContent-Length: 0\r\n\r\n".encode()),
    )
for name, pair in {
    "none": (None, None),
    "the same": (["chat"], ["chat"]),
    "text": ("chat", "chat"),
    "the client's order": (["b", "a"], ["a", "b"]),
    "nothing in common": (["x"], ["y"]),
    "only the server's": (["x"], None),
    "only the client's": (None, ["y"]),
}.items():
    TABLE.add(f"subprotocol: {name}", lambda lib, pair=pair: _subprotocol(lib, *pair))
TABLE.add("subprotocol: choose_subprotocol", lambda lib: _subprotocol(Chooser(lib), ["a", "b"], ["a", "b"]))
TABLE.add("no key", lambda lib: _no_handshake(lib, HTTP_SEC_WEBSOCKET_KEY=None))
TABLE.add("no upgrade", lambda lib: _no_handshake(lib, HTTP_UPGRADE=None))
TABLE.add("no socket", lambda lib: _no_handshake(lib, **{"werkzeug.socket": None}))
TABLE.add("a good handshake", _no_handshake)
TABLE.add("environ and headers", _header)
TABLE.add("100 messages in order", _many)
TABLE.add("mode", lambda lib: _server_says(lib, lambda w: w.mode))
TABLE.add(
    "max_message_size: below",
    lambda lib: _asked(lib, lambda w: (w.send("x" * 10), w.receive(WAIT))[1], max_message_size=10),
)
TABLE.add(
    "max_message_size: above",
    lambda lib: _asked(lib, lambda w: (w.send("x" * 11), _said(w)[2])[1], max_message_size=10),
)
TABLE.add(
    "positional arguments",
    lambda lib: attempt(lambda: lib.Client.connect("ws://127.0.0.1:9/", ["a"], None, 4096, None, None, None)),
)
TABLE.add("nobody listens", lambda lib: attempt(lambda: lib.Client.connect("ws://127.0.0.1:9/")))
TABLE.add("accept is a class method", lambda lib: type(lib.Server.__dict__["accept"]).__name__)
TABLE.add("ConnectionClosed is a RuntimeError", lambda lib: issubclass(lib.ConnectionClosed, RuntimeError))
TABLE.add("ConnectionError is a RuntimeError", lambda lib: issubclass(lib.ConnectionError, RuntimeError))
TABLE.add(
    "ping_interval: a peer that answers stays",
    lambda lib: _asked(lib, lambda w: (w.receive(1.5), w.connected)[1], hold, ping_interval=1),
    slow=True,
)
TABLE.add(
    "max_message_size: 17 MiB by default",
    lambda lib: _server_sees(lib, lambda w: (w.send(b"x" * (17 << 20)), w.receive(WAIT))),
    slow=True,
)
