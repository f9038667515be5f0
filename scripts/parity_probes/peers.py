"""The other end of a probe: servers and clients of the library, and peers that are plain bytes."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LOOPBACK = "127.0.0.1"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
WAIT = 10  # seconds, at most, for what comes at once


@contextmanager
def serving(
    lib: Any, handler: Callable[[Any], object], *, call: str = "serve", **options: Any
) -> Iterator[Any]:
    """A server of the library, which serves until the block is over."""
    server_module = lib.sync_router if call == "route" else lib.sync_server
    with getattr(server_module, call)(handler, LOOPBACK, 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(WAIT)


def url(server: Any, path: str = "/") -> str:
    return f"ws://{LOOPBACK}:{server.socket.getsockname()[1]}{path}"


@contextmanager
def both(
    lib: Any, handler: Callable[[Any], object], *, client: dict[str, Any] | None = None, **options: Any
) -> Iterator[Any]:
    """A client of the library that is connected to a server of it."""
    with serving(lib, handler, **options) as server, connected(lib, url(server), **client or {}) as websocket:
        yield websocket


def connected(lib: Any, address: str, **options: Any) -> Any:
    """A connection of the library's client; no proxy is in between."""
    return lib.sync_client.connect(address, **{"proxy": None, "legacy": True, **options})


def echo(websocket: Any) -> None:
    for message in websocket:
        websocket.send(message)


def hold(websocket: Any) -> None:
    """Receives until the end, whatever it is."""
    try:
        for _ in websocket:
            pass
    except Exception:
        return


def accept_for(request: bytes) -> str:
    key = next(
        line.split(b":")[1].strip()
        for line in request.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key")
    )
    return base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()


@contextmanager
def answering(
    answer: Callable[[bytes], bytes], *, stays: bool = True, then: bytes = b"", patience: float = WAIT
) -> Iterator[str]:
    """A server that answers one request with bytes, and stays or ends the stream.

    `then`: what it says once the client has said something, for which it waits `patience` seconds.
    """
    over = threading.Event()
    with socket.create_server((LOOPBACK, 0)) as listener:

        def run() -> None:
            try:
                while True:
                    sock, _ = listener.accept()
                    with sock:
                        request = b""
                        while b"\r\n\r\n" not in request and (data := sock.recv(4096)):
                            request += data
                        sock.sendall(answer(request))
                        if stays:
                            over.wait(WAIT)
                        else:  # until the client has said something, its Close above all
                            sock.settimeout(patience)
                            with contextlib.suppress(TimeoutError):
                                sock.recv(4096)
                            if then:
                                sock.sendall(then)
                                sock.recv(4096)
            except OSError:
                return

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield f"ws://{LOOPBACK}:{listener.getsockname()[1]}/"
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)


def yes(request: bytes, *lines: str, frames: bytes = b"") -> bytes:
    """The answer to a handshake, with more headers, and what follows it."""
    head = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_for(request)}",
        *lines,
    ]
    return "\r\n".join([*head, "", ""]).encode() + frames


@contextmanager
def fed(lib: Any, frames: bytes, *, stays: bool = True, **options: Any) -> Iterator[Any]:
    """A client of the library whose server sends these frames and nothing more."""
    options = {"compression": None, "close_timeout": 0.3, **options}
    with answering(lambda request: yes(request, frames=frames), stays=stays) as address:
        websocket = connected(lib, address, **options)
        try:
            yield websocket
        finally:
            websocket.close()


HANDSHAKE = {
    "Host": "here",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


def knock(
    server: Any, *more: str, drop: str = "", method: str = "GET", target: str = "/", version: str = "HTTP/1.1"
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to a handshake by hand; its connection is closed then."""
    lines = [f"{name}: {value}" for name, value in HANDSHAKE.items() if name != drop]
    request = "\r\n".join([f"{method} {target} {version}", *lines, *more, "", ""])
    with socket.create_connection((LOOPBACK, server.socket.getsockname()[1]), WAIT) as sock:
        sock.sendall(request.encode("latin-1"))
        data = b""
        while b"\r\n\r\n" not in data and (piece := sock.recv(65536)):
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        while len(body) < int(headers.get("content-length", 0)) and (piece := sock.recv(65536)):
            body += piece
        return int(lines[0].split(" ")[1]), headers, body
