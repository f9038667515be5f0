"""Probes of flask-sock: routes, contexts, options and ends, under Werkzeug, seen from outside."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from parity_probes.peers import LOOPBACK, WAIT
from parity_probes.probing import Table, attempt

TABLE = Table("flask_sock", "threadchat.plain.flask_sock", least=30, share=0.8)
TABLE.on_purpose = {
    "the handler ": (
        "a Close is always sent after a handler returns, closes or fails (1011); in flask-sock, clients were "
        "seen to wait for it"
    ),
    "options: max_message_size": (
        "a message above `max_message_size` closes the connection with 1009; in flask-sock, its client waits"
    ),
}


def libraries() -> tuple[Any, Any]:
    """The peer, and ours."""
    return importlib.import_module("flask_sock"), importlib.import_module(TABLE.ours)


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The application under Werkzeug; its address."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *given: Any) -> None:
            pass

    logging.getLogger("werkzeug").disabled = True
    app.logger.disabled = True
    server = make_server(LOOPBACK, 0, app, threaded=True, request_handler=Quiet)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"ws://{LOOPBACK}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(WAIT)
        server.socket.close()


def made(lib: Any, prepare: Callable[[Any, Any], None], **config: Any) -> Any:
    """An application with what `prepare(app, sock)` gives it."""
    from flask import Flask

    app = Flask("probe")
    app.secret_key = "secret"
    app.config.update(config)
    prepare(app, lib.Sock(app))
    return app


def connected(address: str, **options: Any) -> Any:
    from websockets.sync.client import connect

    return connect(address, proxy=None, legacy=True, **options)


def talk(address: str, *messages: Any, **options: Any) -> object:
    """What comes, one answer for each message sent, then until the end."""
    from websockets.exceptions import ConnectionClosed, InvalidStatus

    found: list[object] = []
    try:
        with connected(address, **options) as websocket:
            try:
                for message in messages:
                    websocket.send(message)
                    found.append(websocket.recv(WAIT))
                websocket.close()
            except ConnectionClosed as error:
                found.append(error.rcvd and error.rcvd.code)
    except InvalidStatus as error:
        found.append(error.response.status_code)
    return found


def ask(
    lib: Any,
    handler: Callable[..., object],
    *messages: Any,
    path: str = "/ws",
    rule: str = "/ws",
    route: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    prepare: Callable[[Any], None] = lambda app: None,
    **options: Any,
) -> object:
    def both(app: Any, sock: Any) -> None:
        prepare(app)
        sock.route(rule, **route or {})(handler)

    with serving(made(lib, both, **config or {})) as address:
        return talk(address + path, *messages, **options)


def echo(ws: Any) -> None:
    while True:
        ws.send(ws.receive())


def answers(word: Callable[[], object]) -> Callable[[Any], None]:
    """A handler that answers each message with what `word` gives."""

    def handler(ws: Any) -> None:
        while True:
            ws.receive()
            ws.send(word())

    return handler


def greet(ws: Any, name: str) -> None:
    ws.send(f"hello {name} {ws.receive()}")
    ws.receive()


def _in_context(what: str) -> Callable[[], object]:
    def word() -> object:
        import flask

        return {
            "path": lambda: flask.request.path,
            "args": lambda: flask.request.args.get("q"),
            "header": lambda: flask.request.headers.get("X-A"),
            "url_for": lambda: flask.url_for("static", filename="x"),
            "app": lambda: flask.current_app.name,
            "session": lambda: flask.session.get("user", "nobody"),
            "g": lambda: getattr(flask.g, "user", "nobody"),
            "endpoint": lambda: flask.request.endpoint,
            "cookie": lambda: flask.request.cookies.get("c"),
            "view_args": lambda: sorted(flask.request.view_args or {}),
        }[what]()

    return word


def _sets_g(app: Any) -> None:
    import flask

    app.before_request(lambda: setattr(flask.g, "user", "ann"))


def _refuses(app: Any) -> None:
    app.before_request(lambda: ("no", 401))


def _later(lib: Any) -> object:
    from flask import Flask

    app = Flask("probe")
    sock = lib.Sock()
    sock.route("/ws")(echo)
    sock.init_app(app)
    with serving(app) as address:
        return talk(address + "/ws", "x")


def _blueprint(lib: Any) -> object:
    from flask import Blueprint, Flask

    app, sock = Flask("probe"), lib.Sock()
    bp = Blueprint("bp", "probe")
    sock.route("/ws", bp)(echo)
    sock.init_app(app)
    app.register_blueprint(bp, url_prefix="/deep")
    with serving(app) as address:
        return talk(address + "/deep/ws", "x"), talk(address + "/ws", "x")


def _teardown(lib: Any) -> object:
    seen: list[str] = []
    over = threading.Event()

    def prepare(app: Any, sock: Any) -> None:
        @app.teardown_request
        def teardown(error: Any) -> None:
            seen.append(type(error).__name__)
            over.set()

        @sock.route("/ws")
        def handler(ws: Any) -> None:
            ws.send(ws.receive())
            seen.append("handler")

    with serving(made(lib, prepare)) as address:
        talk(address + "/ws", "x")
        over.wait(WAIT)
    return seen


def _http(lib: Any, path: str, **headers: str) -> object:
    """The status of a plain request."""
    import urllib.error
    import urllib.request

    def prepare(app: Any, sock: Any) -> None:
        sock.route("/ws")(echo)
        app.add_url_rule("/page", "page", lambda: "page")

    with serving(made(lib, prepare)) as address:
        request = urllib.request.Request(address.replace("ws://", "http://") + path, headers=headers)
        try:
            return urllib.request.urlopen(request, timeout=WAIT).status
        except urllib.error.HTTPError as error:
            return error.code


def _raises(error: Callable[[], BaseException]) -> Callable[[Any], None]:
    def handler(ws: Any) -> None:
        ws.send(ws.receive())
        raise error()

    return handler


def _closes(*given: Any, **named: Any) -> Callable[[Any], None]:
    def handler(ws: Any) -> None:
        ws.send(ws.receive())
        ws.close(*given, **named)
        ws.receive()

    return handler


def _closed_by_peer(lib: Any) -> object:
    seen: list[object] = []
    over = threading.Event()

    def handler(ws: Any) -> None:
        try:
            while True:
                ws.send(ws.receive())
        except lib.ConnectionClosed as error:
            seen.extend([int(error.reason), error.message, ws.connected])
            over.set()
            raise

    def prepare(app: Any, sock: Any) -> None:
        sock.route("/ws")(handler)

    with serving(made(lib, prepare)) as address:
        with connected(address + "/ws") as websocket:
            websocket.send("x")
            websocket.recv(WAIT)
            websocket.close(4000, "why")
        over.wait(WAIT)
    return seen


def _two_routes(lib: Any) -> object:
    def prepare(app: Any, sock: Any) -> None:
        sock.route("/a")(answers(lambda: "a"))
        sock.route("/b", endpoint="b")(echo)

    with serving(made(lib, prepare)) as address:
        return talk(address + "/a", "x"), talk(address + "/b", "x")


def _decorator_returns(lib: Any) -> object:
    def prepare(app: Any, sock: Any) -> None:
        app.found = sock.route("/ws")(echo)

    return made(lib, prepare).found


def _twenty(lib: Any) -> object:
    with serving(made(lib, lambda app, sock: sock.route("/ws")(echo))) as address:
        open_ones = [connected(address + "/ws") for _ in range(20)]
        found = []
        for number, websocket in enumerate(open_ones):
            websocket.send(str(number))
            found.append(websocket.recv(WAIT))
        for websocket in open_ones:
            websocket.close()
        return found


OPTIONS = "SOCK_SERVER_OPTIONS"
CONTEXT = ["path", "args", "header", "url_for", "app", "session", "g", "endpoint", "cookie", "view_args"]
for message in ("hi", "", b"\0\xff", "ü" * 20_000, b"x" * 2_000_000):
    TABLE.add(
        f"echo {type(message).__name__} of {len(message)}",
        lambda lib, message=message: ask(lib, echo, message, max_size=None),
    )
for what in CONTEXT:
    TABLE.add(
        f"context: {what}",
        lambda lib, what=what: ask(
            lib,
            answers(_in_context(what)),
            "x",
            path="/ws?q=1",
            prepare=_sets_g,
            additional_headers={"X-A": "b", "Cookie": "c=d"},
        ),
    )
TABLE.add("a variable part", lambda lib: ask(lib, greet, "x", rule="/hi/<name>", path="/hi/ann"))
TABLE.add(
    "a converter that does not match", lambda lib: ask(lib, greet, "x", rule="/hi/<int:name>", path="/hi/ann")
)
TABLE.add("defaults", lambda lib: ask(lib, greet, "x", route={"defaults": {"name": "bob"}}))
TABLE.add("methods and endpoint", lambda lib: ask(lib, echo, "x", route={"endpoint": "mine"}))
TABLE.add("no such path", lambda lib: ask(lib, echo, "x", path="/none"))
TABLE.add("before_request refuses", lambda lib: ask(lib, echo, "x", prepare=_refuses))
TABLE.add("init_app later", _later)
TABLE.add("a blueprint", _blueprint)
TABLE.add("teardown", _teardown)
TABLE.add("two routes", _two_routes)
TABLE.add("what the decorator returns", _decorator_returns)
TABLE.add("twenty at once", _twenty)
TABLE.add("HTTP on the route of a WebSocket", lambda lib: _http(lib, "/ws"))
TABLE.add("HTTP beside it", lambda lib: _http(lib, "/page"))
TABLE.add("HTTP nowhere", lambda lib: _http(lib, "/none"))
TABLE.add("the handler returns", lambda lib: ask(lib, lambda ws: ws.receive(), "x"))
TABLE.add("the handler closes", lambda lib: ask(lib, _closes(), "x", "y"))
TABLE.add("the handler closes with 4000", lambda lib: ask(lib, _closes(4000, "why"), "x", "y"))
TABLE.add("the handler closes by names", lambda lib: ask(lib, _closes(reason=1001, message="why"), "x", "y"))
TABLE.add(
    "the handler raises ConnectionClosed", lambda lib: ask(lib, _raises(lib.ConnectionClosed), "x", "y")
)
TABLE.add("the handler raises an error", lambda lib: ask(lib, _raises(ValueError), "x", "y"), slow=True)
TABLE.add("the peer closes with 4000", _closed_by_peer)
TABLE.add(
    "options: subprotocols",
    lambda lib: ask(
        lib, answers(lambda: "x"), "x", config={OPTIONS: {"subprotocols": ["a"]}}, subprotocols=["a"]
    ),
)
TABLE.add(
    "options: max_message_size",
    lambda lib: ask(lib, echo, "x" * 11, config={OPTIONS: {"max_message_size": 10}}),
    slow=True,
)
TABLE.add("options: ping_interval", lambda lib: ask(lib, echo, "x", config={OPTIONS: {"ping_interval": 25}}))
TABLE.add(
    "options: receive_bytes", lambda lib: ask(lib, echo, "x", config={OPTIONS: {"receive_bytes": 1024}})
)
TABLE.add("names", lambda lib: [hasattr(lib, name) for name in ("Sock", "Server", "ConnectionClosed")])
TABLE.add(
    "attributes of Sock",
    lambda lib: [hasattr(lib.Sock(), name) for name in ("app", "bp", "init_app", "route")],
)
TABLE.add("Sock without an app", lambda lib: attempt(lambda: lib.Sock().route("/x")(echo)))
