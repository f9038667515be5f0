"""Probes of a client: what it makes of answers, its ways to a server, and how it comes back."""

from __future__ import annotations

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
    connected,
    echo,
    hold,
    serving,
    url,
    yes,
)
from parity_probes.probing import Table, attempt

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


def fill(table: Table) -> None:
    """Adds the probes."""
    table.each("answer {}", ANSWERS, lambda lib, case: _answered(lib, case[1]))
    table.each("connect to {}", BAD_URIS, lambda lib, uri: connected(lib, uri))
    for name, ask in ASKED.items():
        table.add(name, ask)


def connects(lib: Any, address: str, *, ask: Any = lambda w: "open", **options: Any) -> object:
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


def _user_agent(lib: Any, **options: Any) -> object:
    with serving(lib, lambda w: w.send(str(w.request.headers.get("User-Agent")).split("/")[0])) as server:
        return connects(lib, url(server), ask=lambda w: w.recv(WAIT), **options)


def _given_socket(lib: Any) -> object:
    listener = socket.create_server((LOOPBACK, 0))
    with lib.sync_server.serve(hold, sock=listener) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        same = server.socket.getsockname() == listener.getsockname()
        sock = socket.create_connection(listener.getsockname())
        answer = connects(lib, "ws://elsewhere.invalid/", sock=sock, ask=lambda w: w.request.headers["Host"])
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
            return connects(lib, address, ask=lambda w: w.recv(WAIT), open_timeout=5)


def _proxied(lib: Any, answer: bytes, **options: Any) -> object:
    """A proxy for HTTP CONNECT that answers by hand; what it was asked, and what became of it."""
    asked: list[str] = []

    def proxy(request: bytes) -> bytes:
        lines = request.decode().split("\r\n")
        asked.extend(line for line in lines if line.startswith(("CONNECT", "Host", "Proxy-Auth")))
        return answer

    with answering(proxy, stays=False) as address:
        where = address.replace("ws://", "http://ann:secret@")
        result = connects(lib, "ws://server.invalid:81/", proxy=where, open_timeout=5)
    return asked, result


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


def _mute(lib: Any) -> object:
    with answering(yes) as address:
        websocket = connected(lib, address, close_timeout=0.2, compression=None)
        websocket.close()
        try:
            websocket.recv()
        except Exception as error:
            return error, error.sent, error.rcvd, str(error), websocket.close_code, websocket.state


ASKED = {
    "user_agent_header: mine": lambda lib: _user_agent(lib, user_agent_header="mine"),
    "user_agent_header: none": lambda lib: _user_agent(lib, user_agent_header=None),
    "user_agent_header: usual": _user_agent,
    "user_agent_header: among the headers": lambda lib: _user_agent(
        lib, additional_headers={"User-Agent": "other"}
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
    "proxy by TLS": lambda lib: connected(lib, "ws://127.0.0.1/", proxy="https://127.0.0.1:9"),
    "connect(uri=)": lambda lib: lib.sync_client.connect(uri="x"),
    "subprotocols as text": lambda lib: connected(lib, "ws://127.0.0.1:9/", subprotocols="chat"),
    "reconnect": _reconnect,
    "reconnect: as a block": _reconnect_as_block,
    "reconnect: process_exception": _reconnect_after_failures,
    "reconnect: a fatal refusal": _reconnect_fatal,
    "a peer that does not answer the close": _mute,
}
