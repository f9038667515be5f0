"""Probes of websocket-client: `create_connection`, `WebSocket` and `WebSocketApp`, against one server."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from parity_probes.probing import Table, attempt

TABLE = Table("websocket_client", "threadchat.plain.websocket", least=30, share=0.9)
TABLE.on_purpose = {
    "WebSocketApp: on_ping": (
        "the connection answers pings itself, so there are no `on_ping`, `on_pong`, `on_cont_message`, "
        "`recv_frame` and `send_frame`"
    ),
    "WebSocketApp: closes in on_open": "`WebSocketApp.close` may be called in `on_open`",
}
WAIT = 10


def libraries() -> tuple[Any, Any]:
    """The peer, and ours."""
    return importlib.import_module("websocket"), importlib.import_module(TABLE.ours)


def _talk(websocket: Any) -> None:
    """The server's side: an echo that can do more on command."""
    for message in websocket:
        if message == "bye":
            websocket.close(4000, "why")
            return
        if message == "drop":
            websocket.socket.shutdown(2)
            return
        if message == "headers":
            names = ("X-A", "Cookie", "Origin", "User-Agent", "Authorization")
            found = {name: websocket.request.headers.get(name) for name in names}
            found["Origin"] = (found["Origin"] or "").split(":")[0]
            websocket.send(repr(found))
            continue
        websocket.send(message)


def _served(ask: Callable[[str], object], **options: Any) -> object:
    from threadchat import serve

    with serve(_talk, "127.0.0.1", 0, **options) as server:
        return ask(f"ws://127.0.0.1:{server.port}/a?b")


def _asked(lib: Any, ask: Callable[[Any], object], **options: Any) -> object:
    def run(url: str) -> object:
        websocket = lib.create_connection(url, timeout=WAIT, **options)
        try:
            return ask(websocket)
        finally:
            websocket.close()

    return _served(run, subprotocols=options.get("subprotocols"))


def _refused(lib: Any) -> object:
    def run(url: str) -> object:
        try:
            lib.create_connection(url, timeout=WAIT)
        except lib.WebSocketBadStatusException as error:
            return error.status_code, error.resp_headers["content-type"], error.resp_body
        return "connected"

    return _served(run, process_request=lambda connection, request: connection.respond(403, "no\n"))


def _app(lib: Any, *, address: str = "", reconnect: int = 0, **callbacks: Any) -> object:
    """What an app calls back, and how its run ends."""
    seen: list[object] = []

    def note(name: str) -> Callable[..., None]:
        def callback(app: Any, *given: Any) -> None:
            seen.append([name, *(attempt(lambda it=it: _or_raise(it)) for it in given)])
            if name in callbacks:
                callbacks[name](app, *given)

        return callback

    def run(url: str) -> object:
        names = ("on_open", "on_message", "on_error", "on_close", "on_data", "on_reconnect")
        app = lib.WebSocketApp(address or url, **{name: note(name) for name in names})
        return app.run_forever(reconnect=reconnect)

    return _served(run), seen


def _or_raise(value: object) -> object:
    if isinstance(value, Exception):
        raise value
    return value


def _said(word: str) -> Callable[..., None]:
    return lambda app, *given: app.send(word)


def _comes_back(lib: Any) -> object:
    opened: list[int] = []

    def again(app: Any) -> None:
        opened.append(1)
        app.send("bye" if len(opened) < 2 else "last")

    return _app(lib, reconnect=1, on_open=again, on_reconnect=again, on_message=lambda app, m: app.close())


def _fail(app: Any, message: Any) -> None:
    app.close()
    raise ZeroDivisionError


ASKED: dict[str, Callable[[Any], object]] = {
    "send and recv": lambda w: (w.send("hi"), w.recv()),
    "send: bytes": lambda w: (w.send_binary(b"\0"), w.recv()),
    "send_bytes": lambda w: (w.send_bytes(b"\0\xff"), w.recv()),
    "send_text": lambda w: (w.send_text("é"), w.recv()),
    "send: long": lambda w: (w.send("x" * 70_000), len(w.recv())),
    "send: 200": lambda w: (w.send("x" * 200), len(w.recv())),
    "send: by opcode": lambda w: (w.send(b"abc", 2), w.recv()),
    "recv_data": lambda w: (w.send("é"), w.recv_data()),
    "recv: the peer closes": lambda w: (w.send("bye"), attempt(w.recv), w.connected, attempt(w.recv)),
    "recv_data: the peer closes": lambda w: (w.send("bye"), attempt(w.recv_data), attempt(w.recv_data)),
    "recv: the connection is lost": lambda w: (w.send("drop"), attempt(w.recv), w.connected),
    "recv: nothing in time": lambda w: (w.settimeout(0.05), attempt(w.recv), w.connected),
    "send after the end": lambda w: (w.close(), attempt(lambda: w.send("x"))),
    "recv after the end": lambda w: (w.close(), attempt(w.recv)),
    "ping after the end": lambda w: (w.close(), attempt(w.ping)),
    "close twice": lambda w: (w.close(), w.close()),
    "close with a code": lambda w: (w.close(4001, b"why"), w.connected),
    "ping": lambda w: (w.ping("x"), w.ping(), w.send("a"), w.recv()),
    "pong": lambda w: (w.pong("x"), w.send("a"), w.recv()),
    "connected": lambda w: w.connected,
    "status": lambda w: (w.status, w.getstatus()),
    "headers": lambda w: (sorted(w.headers), w.getheaders()["upgrade"]),
    "subprotocol": lambda w: (w.subprotocol, w.getsubprotocol()),
    "timeout": lambda w: (w.gettimeout(), w.settimeout(3), w.gettimeout()),
    "request headers": lambda w: (w.send("headers"), w.recv()),
    "iteration": lambda w: (w.send("a"), next(iter(w))),
    "sock": lambda w: w.sock.fileno() > 0,
}
for name, question in ASKED.items():
    TABLE.add(f"WebSocket: {name}", lambda lib, question=question: _asked(lib, question))
for name, options in {
    "header: list": {"header": ["X-A: b"]},
    "header: dict": {"header": {"X-A": "b"}},
    "cookie": {"cookie": "c=d"},
    "origin": {"origin": "https://o"},
    "suppress_origin": {"suppress_origin": True},
}.items():
    TABLE.add(
        f"create_connection: {name}",
        lambda lib, options=options: _asked(lib, lambda w: (w.send("headers"), w.recv()), **options),
    )
TABLE.add(
    "create_connection: subprotocols", lambda lib: _asked(lib, lambda w: w.subprotocol, subprotocols=["a"])
)
TABLE.add("create_connection: refused", _refused)
TABLE.add("create_connection: nobody listens", lambda lib: lib.create_connection("ws://127.0.0.1:9/"))
TABLE.add("create_connection: unknown host", lambda lib: lib.create_connection("ws://no-such.invalid/"))
TABLE.add(
    "WebSocket before connect",
    lambda lib: (attempt(lib.WebSocket().recv), attempt(lambda: lib.WebSocket().send("x"))),
)
TABLE.add(
    "WebSocketApp: talk", lambda lib: _app(lib, on_open=_said("hi"), on_message=lambda app, m: app.close())
)
TABLE.add("WebSocketApp: the peer closes", lambda lib: _app(lib, on_open=_said("bye")))
TABLE.add("WebSocketApp: lost", lambda lib: _app(lib, on_open=_said("drop")))
TABLE.add("WebSocketApp: nobody listens", lambda lib: _app(lib, address="ws://127.0.0.1:9/"))
TABLE.add("WebSocketApp: closes in on_open", lambda lib: _app(lib, on_open=lambda app: app.close()))
TABLE.add("WebSocketApp: a callback fails", lambda lib: _app(lib, on_open=_said("hi"), on_message=_fail))
TABLE.add("WebSocketApp: comes back", _comes_back, slow=True)
TABLE.add("WebSocketApp: on_ping", lambda lib: attempt(lambda: lib.WebSocketApp("ws://x/", on_ping=print)))
for name in (
    "WebSocketException",
    "WebSocketTimeoutException",
    "WebSocketConnectionClosedException",
    "ABNF",
    "WebSocketApp",
):
    TABLE.add(f"name {name}", lambda lib, name=name: hasattr(lib, name))
