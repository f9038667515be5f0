"""The client's way in, against scripted servers, an independent one and our own; what it sends is masked."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import re
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.sync.server import Server, ServerConnection, serve

from tests.e2e.process import until
from tests.wire.conftest import Certificate
from tests.wire.helpers import (
    ENVIRON,
    PATIENCE,
    Dialed,
    Hand,
    client_frame,
    finish,
    hole,
    run_all,
    start,
    switching,
    text_frame,
)
from threadchat.errors import BadUrl, CannotConnect, ConnectTimeout, HandshakeRefused
from threadchat.wire.connecting import dial as dial_module
from threadchat.wire.connecting.cancellation import Cancellation
from threadchat.wire.connecting.dial import MAX_HEAD, dial
from threadchat.wire.connection import DEFAULT_LIMITS, Connection
from threadchat.wire.protocol import frames
from threadchat.wire.tls import TlsSocket
from threadchat.wire.transport import SEND_BUFFER
from threadchat.wire.turnstile import Turnstile

TEXT, BINARY, CLOSE, PING, PONG = frames.TEXT, frames.BINARY, frames.CLOSE, frames.PING, frames.PONG
MIB = 1 << 20

Script = Callable[[socket.socket, bytes], None]


class Scripted:
    """A server that takes one connection, reads its request, and goes on as the script says."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        self.port = self._listener.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/"
        self.request = b""
        self.thread = start(self._run)

    def _run(self) -> None:
        with self._listener:
            accepted, _ = self._listener.accept()
        with accepted:
            accepted.settimeout(PATIENCE)
            while not self.request.endswith(b"\r\n\r\n"):
                data = accepted.recv(1 << 16)
                if not data:
                    return
                self.request += data
            self._script(accepted, self.request)

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None:
        finish(self.thread)


def saying(data: bytes) -> Script:
    """Says this and hangs up."""
    return lambda sock, _: sock.sendall(data)


def accepting(request: bytes, *more: str) -> bytes:
    found = re.search(rb"Sec-WebSocket-Key: (\S+)\r\n", request)
    assert found
    digest = hashlib.sha1(found[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    lines = (
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}",
        *more,
    )
    return "\r\n".join((*lines, "", "")).encode()


def reach(url: str, **options: Any) -> Connection:
    """A connection that is not read, or an error."""
    return dial(url, turnstile=Turnstile(), pinger=Hand().pinger, number=3, **options)


def let_go(connection: Connection) -> None:
    connection.abort(1006)
    connection.end_reading()
    finish(connection._writer.thread)


def echo(websocket: ServerConnection) -> None:
    for message in websocket:
        websocket.send(message)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """The sockets that were connected; none of them may be open at the end."""
    found: list[socket.socket] = []

    class Watching(Cancellation):
        def watch(self, sock: socket.socket) -> None:
            found.append(sock)
            super().watch(sock)

    monkeypatch.setattr(dial_module, "Cancellation", Watching)
    monkeypatch.setattr(sys.modules[__name__], "Cancellation", Watching)
    yield found
    assert found
    assert [sock.fileno() for sock in found] == [-1] * len(found)


@pytest.fixture
def start_server() -> Iterator[Callable[..., str]]:
    """Starts servers of another library, which answer what they get; ends them with the test."""
    servers: list[tuple[Server, threading.Thread]] = []

    def run(**options: Any) -> str:
        server = serve(echo, "127.0.0.1", 0, max_size=None, **options)
        servers.append((server, start(server.serve_forever)))
        scheme = "wss" if "ssl" in options else "ws"
        return f"{scheme}://localhost:{server.socket.getsockname()[1]}"

    yield run
    for server, thread in servers:
        server.shutdown()
        finish(thread)


# -- the whole way, against an independent server ------------------------------------------------------


@pytest.mark.parametrize("secure", [False, True])
def test_messages_of_all_sorts_there_and_back(
    start_server: Callable[..., str], certificate: Certificate, secure: bool
) -> None:
    options = {"ssl": certificate.server()} if secure else {}
    url = start_server(subprotocols=["chat"], **options)
    context = certificate.client() if secure else None
    with Dialed(f"{url}/x?y=1", subprotocols=["new", "chat"], ssl_context=context) as dialed:
        connection = dialed.connection
        assert connection.subprotocol == "chat"
        assert "websockets" in dict(connection.response_headers)["server"]
        sent: list[str | bytes] = ["hi", "grüße", b"\0\1", "", b"", "x" * 70_000, bytes(500_000), "y" * 200]
        for message in sent:
            frame = connection.text(message) if isinstance(message, str) else connection.binary(message)
            connection.send(frame)
            if len(message) > 100_000:
                dialed.wait_for(sent.index(message) + 1)
        assert dialed.wait_for(len(sent)) == sent
        pong = threading.Event()
        connection.ping(on_pong=lambda seconds: pong.set())
        assert pong.wait(PATIENCE)
        connection.close(1000, "bye")
        assert dialed.join().code == 1000


@pytest.mark.parametrize("secure", [False, True])
def test_a_megabyte_each_way_at_once_with_a_server_of_ours(certificate: Certificate, secure: bool) -> None:
    """Two of these connections, one of either role; under TLS, both ends are ours."""
    down, up = bytes(range(256)) * 4096, bytes(range(255, -1, -1)) * 4096
    found: list[str | bytes] = []
    hand, turnstile = Hand(), Turnstile()
    limits = DEFAULT_LIMITS._replace(max_message_size=2 * MIB)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve_one() -> None:
            accepted, _ = listener.accept()
            sock: socket.socket | TlsSocket = accepted
            if secure:
                sock = TlsSocket(accepted, certificate.server(), server_side=True)
                sock.handshake(PATIENCE)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += sock.recv(4096)
            key = re.search(rb"Sec-WebSocket-Key: (\S+)", head)
            assert key
            environ = {**ENVIRON, "HTTP_SEC_WEBSOCKET_KEY": key[1].decode()}
            served = Connection(1, sock, environ, turnstile=turnstile, pinger=hand.pinger, limits=limits)
            served.send(served.binary(down))
            for messages in served.bursts():
                found.extend(messages)
                served.send(served.text("seen"))
            served.end_reading()
            finish(served._writer.thread)

        serving = start(serve_one)
        scheme = "wss" if secure else "ws"
        context = certificate.client() if secure else None
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/"
        with switching(1e-5), Dialed(url, ssl_context=context, limits=limits) as dialed:
            dialed.connection.send(dialed.connection.binary(up))
            assert dialed.wait_for(2) == [down, "seen"]
            assert found == [up]
            dialed.connection.close(1000)
            assert dialed.join().code == 1000
        finish(serving)


# -- what a client sends -------------------------------------------------------------------------------


def masked_frames(data: bytes) -> list[tuple[int, bytes, bytes]]:
    """Opcode, mask and payload of every frame; each has a mask."""
    found = []
    at = 0
    while at < len(data):
        header = frames.read_header(data, at)
        assert header is not None
        assert data[at + 1] & 0x80, "a client masks every frame"
        mask = data[header.body - 4 : header.body]
        found.append((header.opcode, mask, frames.apply_mask(data[header.body : header.end], mask)))
        at = header.end
    return found


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(1 << 16), b""))


def test_every_frame_of_a_client_is_masked_each_with_its_own() -> None:
    """Texts, bytes, the pinger's pings, one's own, pongs and closes alike (RFC 6455 5.3)."""
    heard: list[bytes] = []

    def script(sock: socket.socket, request: bytes) -> None:
        sock.sendall(accepting(request))
        heard.append(read_all(sock))

    with Scripted(script) as server, Dialed(server.url) as dialed:
        connection = dialed.connection
        for _ in range(2):
            connection.send(connection.text("hi"))
        connection.send(connection.binary(b"\0" * 70_000))
        connection.ping(b"mine")
        dialed.hand.advance(30)
        connection.close(3000, "bye")
        finish(server.thread)
    found = masked_frames(heard[0])
    told = [(opcode, payload) for opcode, _, payload in found]
    for expected in ((TEXT, b"hi"), (BINARY, b"\0" * 70_000), (PING, b"mine"), (PING, b"")):
        assert expected in told
    assert told[-1] == (CLOSE, b"\x0b\xb8bye")
    masks = [mask for _, mask, _ in found]
    assert len(set(masks)) == len(masks)


def test_a_pong_and_the_answer_to_a_close_are_masked() -> None:
    heard: list[bytes] = []

    def script(sock: socket.socket, request: bytes) -> None:
        sock.sendall(accepting(request) + client_frame(PING, b"you?", mask=None))
        data = sock.recv(6 + 4)
        sock.sendall(b"\x88\x00")
        heard.append(data + read_all(sock))

    with Scripted(script) as server, Dialed(server.url) as dialed:
        assert dialed.join().code == 1005
    assert [(opcode, payload) for opcode, _, payload in masked_frames(heard[0])] == [
        (PONG, b"you?"),
        (CLOSE, b""),
    ]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (text_frame("hi"), 1002),
        (client_frame(PING, b"hi"), 1002),
        (client_frame(TEXT, b"\xff", mask=None), 1007),
        (client_frame(TEXT, b"", declared=512_001, mask=None), 1009),
        (client_frame(TEXT, b"", reserved=4, mask=None), 1002),
    ],
)
def test_errors_of_a_server_are_answered(frame: bytes, code: int) -> None:
    heard: list[bytes] = []

    def script(sock: socket.socket, request: bytes) -> None:
        sock.sendall(accepting(request) + text_frame("before", mask=None) + frame)
        heard.append(read_all(sock))

    with Scripted(script) as server, Dialed(server.url) as dialed:
        assert dialed.join().code == code
        assert dialed.received == ["before"]
    ((opcode, _, payload),) = masked_frames(heard[0])
    assert (opcode, payload[:2]) == (CLOSE, code.to_bytes(2, "big"))


# -- the request -----------------------------------------------------------------------------------------


def test_what_goes_along_with_the_request() -> None:
    with Scripted(saying(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")) as server:
        url = f"ws://ann:secret@127.0.0.1:{server.port}/ö?x=1"
        with pytest.raises(HandshakeRefused):
            reach(url, headers={"Origin": "https://h", "X-Y": "z"}, subprotocols=["a", "b"])
    head = server.request.decode().split("\r\n")
    assert head[0] == "GET /%C3%B6?x=1 HTTP/1.1"
    for line in (
        f"Host: 127.0.0.1:{server.port}",
        "Origin: https://h",
        "X-Y: z",
        "Sec-WebSocket-Protocol: a, b",
        "Authorization: Basic " + base64.b64encode(b"ann:secret").decode(),
    ):
        assert line in head


@pytest.mark.parametrize(
    "options",
    [{"headers": {"Host": "x"}}, {"subprotocols": "chat"}, {"ssl_context": ssl.create_default_context()}],
)
def test_wrong_options_are_refused_before_anything_is_opened(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("looked up"))
    with pytest.raises(BadUrl):
        reach("ws://127.0.0.1:9/", **options)


def test_what_is_no_ssl_context_is_refused_before_anything_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("looked up"))
    context: Any = True
    with pytest.raises(BadUrl, match=r"must be an ssl\.SSLContext"):
        reach("wss://127.0.0.1:9/", ssl_context=context)


# -- the answer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_what_comes_along_with_the_answer_is_read(piece: int) -> None:
    def script(sock: socket.socket, request: bytes) -> None:
        data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        data += accepting(request) + text_frame("early", mask=None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(0, len(data), piece):
            sock.sendall(data[i : i + piece])

    with Scripted(script) as server, Dialed(server.url) as dialed:
        assert dialed.wait_for(1) == ["early"]


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize("status", [200, 301, 401, 403, 404, 426, 503])
@pytest.mark.parametrize("framing", ["length", "chunked", "end"])
def test_a_refusal_has_status_headers_and_body(status: int, framing: str) -> None:
    head = {
        "length": b"Content-Length: 8\r\n\r\nnot here",
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n3\r\nnot\r\n5\r\n here\r\n0\r\n\r\n",
        "end": b"\r\nnot here",
    }[framing]
    with Scripted(saying(b"HTTP/1.1 %d No\r\nX-Why: because\r\n" % status + head)) as server:
        with pytest.raises(HandshakeRefused, match=f"status {status}") as caught:
            reach(server.url)
        assert (caught.value.status, caught.value.body) == (status, "not here")
        assert ("x-why", "because") in caught.value.headers


def test_a_refusal_whose_body_never_ends_is_one_all_the_same() -> None:
    done = threading.Event()

    def script(sock: socket.socket, request: bytes) -> None:
        sock.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\nsome")
        assert done.wait(PATIENCE)

    seconds = itertools.chain([0.0, 1, 2, 3, 4], itertools.repeat(11.0))
    with Scripted(script) as server:
        with pytest.raises(HandshakeRefused) as caught:
            reach(server.url, clock=lambda: next(seconds))
        done.set()
    assert caught.value.status == 403


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (b"", "ended the connection before it answered"),
        (b"HTTP/1.1 101 Swit", "ended the connection before it answered"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "not a WebSocket handshake"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "not a WebSocket handshake"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2 * MAX_HEAD, f"longer than {MAX_HEAD} bytes"),
    ],
)
def test_what_is_no_answer_is_an_error(answer: bytes, wrong: str) -> None:
    with Scripted(saying(answer)) as server, pytest.raises(CannotConnect, match=wrong) as caught:
        reach(server.url)
    assert not isinstance(caught.value, HandshakeRefused)


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize(
    "more", ["Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: chat"]
)
def test_what_was_not_asked_for_is_refused(more: str) -> None:
    with (
        Scripted(lambda sock, request: sock.sendall(accepting(request, more))) as server,
        pytest.raises(CannotConnect, match="not a WebSocket handshake"),
    ):
        reach(server.url)


def test_a_drip_of_bytes_does_not_move_the_deadline() -> None:
    def script(sock: socket.socket, request: bytes) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):  # the client has hung up
            while True:
                sock.sendall(b"x")

    seconds = itertools.count(0, 3)  # time passes with each look at the clock
    with Scripted(script) as server, pytest.raises(ConnectTimeout, match="no connection within 10 s"):
        reach(server.url, clock=lambda: float(next(seconds)))


@pytest.mark.usefixtures("opened")
def test_a_server_that_says_nothing_is_waited_for_as_long_as_was_said() -> None:
    done = threading.Event()

    def script(sock: socket.socket, request: bytes) -> None:
        assert done.wait(PATIENCE)

    with Scripted(script) as server:
        with pytest.raises(ConnectTimeout, match=r"within 0.05 s"):
            reach(server.url, timeout=0.05)
        done.set()


def test_outside_code_can_catch_what_it_knows() -> None:
    assert issubclass(BadUrl, ValueError)
    assert issubclass(CannotConnect, ConnectionError)
    assert issubclass(ConnectTimeout, TimeoutError)
    assert issubclass(ConnectTimeout, CannotConnect)
    assert issubclass(HandshakeRefused, CannotConnect)


# -- TCP ---------------------------------------------------------------------------------------------------


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.mark.usefixtures("opened")
def test_where_nobody_listens() -> None:
    port = closed_port()
    with pytest.raises(CannotConnect, match=f"127.0.0.1 port {port}: Connection refused"):
        reach(f"ws://127.0.0.1:{port}/")


@pytest.mark.parametrize("host", ["nobody.invalid", "x" * 70 + ".example", "a..b"])
def test_an_unknown_host(host: str) -> None:
    with pytest.raises(CannotConnect, match=f"{host}: unknown host: "):
        reach(f"ws://{host}/")


@pytest.mark.usefixtures("opened")
def test_an_address_that_does_not_answer_is_out_of_time() -> None:
    with hole() as endpoint, pytest.raises(ConnectTimeout, match=r"within 0\.05 s"):
        reach(f"ws://127.0.0.1:{endpoint[1]}/", timeout=0.05)


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6 here")
def test_ipv6() -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("there is no IPv6 here")
    heard: list[bytes] = []

    def answer() -> None:
        accepted, _ = listener.accept()
        with accepted:
            heard.append(accepted.recv(1 << 16))
            accepted.sendall(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")

    with listener:
        port = listener.getsockname()[1]
        answering = start(answer)
        with pytest.raises(HandshakeRefused):
            reach(f"ws://[::1]:{port}/")
        finish(answering)
    assert f"Host: [::1]:{port}\r\n".encode() in heard[0]


def test_the_caller_is_not_its_reader_and_the_socket_is_tuned() -> None:
    before = threading.current_thread().name
    done = threading.Event()

    def script(sock: socket.socket, request: bytes) -> None:
        sock.sendall(accepting(request))
        assert done.wait(PATIENCE)

    with Scripted(script) as server:
        connection = reach(server.url)
        assert threading.current_thread().name == before
        assert connection._writer.thread.name == "writer-3"
        sock = connection._transport.socket
        assert isinstance(sock, socket.socket)
        assert sock.gettimeout() is None
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * SEND_BUFFER  # Linux doubles
        let_go(connection)
        done.set()


@pytest.mark.usefixtures("opened")
def test_where_no_thread_can_be_started_the_socket_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = threading.Thread.start

    def run_out(self: threading.Thread) -> None:
        if self.name == "writer-3":
            raise RuntimeError("can't start new thread")
        begin(self)

    def script(sock: socket.socket, request: bytes) -> None:
        sock.sendall(accepting(request))
        assert read_all(sock) == b""

    with Scripted(script) as server:
        monkeypatch.setattr(threading.Thread, "start", run_out)
        with pytest.raises(RuntimeError, match="can't start"):
            reach(server.url)


# -- giving up ---------------------------------------------------------------------------------------------


class Attempt:
    """A dial on a thread of its own, which nobody answers; over when its error is there."""

    def __init__(self, url: str, **options: Any) -> None:
        self.cancellation = Cancellation()
        self._url = url
        self._options = options
        self._error: Exception | None = None
        self._thread = start(self._run)

    def _run(self) -> None:
        try:
            reach(self._url, timeout=1000, cancellation=self.cancellation, **self._options)
        except CannotConnect as error:
            self._error = error

    def given_up(self) -> Exception | None:
        self.cancellation.cancel()
        finish(self._thread)
        return self._error


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_another_thread_may_end_the_handshake(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        attempt = Attempt(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/")
        listener.settimeout(PATIENCE)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.recv(1)
            assert not isinstance(attempt.given_up(), ConnectTimeout | None)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it ends with its time")
def test_another_thread_may_end_what_nobody_accepts(opened: list[socket.socket]) -> None:
    with hole() as endpoint:
        attempt = Attempt(f"ws://127.0.0.1:{endpoint[1]}/")
        until(lambda: bool(opened) and state(opened[0]) == "SYN", "a connection nobody answers")
        assert not isinstance(attempt.given_up(), ConnectTimeout | None)


def state(sock: socket.socket) -> str:
    """Of a TCP connection, by its first byte of TCP_INFO (Linux's enumeration)."""
    try:
        return "SYN" if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 2 else "other"
    except OSError:
        return "none"


@pytest.mark.usefixtures("opened")
def test_what_was_given_up_is_not_begun_again() -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    cancellation.cancel()
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        pytest.raises(CannotConnect, match="the attempt to connect was cancelled"),
    ):
        reach(f"ws://127.0.0.1:{listener.getsockname()[1]}/", cancellation=cancellation)


def test_giving_up_too_late_touches_no_connection(start_server: Callable[..., str]) -> None:
    cancellation = Cancellation()
    with Dialed(start_server(), cancellation=cancellation) as dialed:
        cancellation.cancel()
        dialed.connection.send(dialed.connection.text("hi"))
        assert dialed.wait_for(1) == ["hi"]
        dialed.connection.close(1000)
        assert dialed.join().code == 1000


# -- TLS -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("opened")
def test_a_certificate_that_nobody_vouches_for(
    start_server: Callable[..., str], certificate: Certificate
) -> None:
    url = start_server(ssl=certificate.server())
    with pytest.raises(CannotConnect, match=r"no TLS: .*certificate"):
        reach(url)


def test_nobody_renegotiates_unless_the_program_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dial_module._usual_context().options & ssl.OP_NO_RENEGOTIATION
    assert dial_module._usual_context().verify_mode is ssl.CERT_REQUIRED
    given: list[ssl.SSLContext] = []

    class Stop(Exception):
        pass

    def stop(sock: socket.socket, context: ssl.SSLContext, **_: object) -> None:
        given.append(context)
        raise Stop

    monkeypatch.setattr(dial_module, "TlsSocket", stop)
    own = ssl.create_default_context()
    own.options &= ~ssl.OP_NO_RENEGOTIATION
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for context in (None, own):
            with pytest.raises(Stop):
                reach(f"wss://127.0.0.1:{listener.getsockname()[1]}/", ssl_context=context)
    assert given[0].options & ssl.OP_NO_RENEGOTIATION
    assert given[1] is own
    assert not own.options & ssl.OP_NO_RENEGOTIATION


@pytest.mark.usefixtures("opened")
def test_a_server_without_tls(start_server: Callable[..., str], certificate: Certificate) -> None:
    url = start_server().replace("ws:", "wss:")
    with pytest.raises(CannotConnect, match="no TLS"):
        reach(url, ssl_context=certificate.client())


@pytest.mark.usefixtures("opened")
def test_a_server_that_says_nothing_to_tls(certificate: Certificate) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"wss://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(ConnectTimeout, match=r"within 0.05 s"):
            reach(url, ssl_context=certificate.client(), timeout=0.05)


class TlsPeer:
    """A server with Python's own TLS, which takes the handshake and then does as it is told."""

    def __init__(self, certificate: Certificate) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._context = certificate.server()
        self.url = f"wss://localhost:{self._listener.getsockname()[1]}/"
        self.ready = threading.Event()
        self.thread = start(self._run)

    def _run(self) -> None:
        with self._listener:
            accepted, _ = self._listener.accept()
        self.socket = self._context.wrap_socket(accepted, server_side=True, suppress_ragged_eofs=False)
        self.socket.settimeout(PATIENCE)
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += self.socket.recv(1 << 16)
        self.socket.sendall(accepting(request))
        self.ready.set()

    def __enter__(self) -> TlsPeer:
        return self

    def __exit__(self, *_: object) -> None:
        finish(self.thread)
        self.socket.close()


def test_an_orderly_end_over_tls(certificate: Certificate) -> None:
    with TlsPeer(certificate) as peer, Dialed(peer.url, ssl_context=certificate.client()) as dialed:
        assert peer.ready.wait(PATIENCE)
        dialed.connection.send(dialed.connection.text("last words"))
        dialed.connection.close(1000)
        data = b"".join(iter(lambda: peer.socket.recv(1 << 16), b""))  # an end without close_notify raises
        assert [(opcode, payload) for opcode, _, payload in masked_frames(data)] == [
            (TEXT, b"last words"),
            (CLOSE, b"\x03\xe8normal closure"),
        ]
        peer.socket.sendall(client_frame(CLOSE, b"\x03\xe8", mask=None))
        assert dialed.join().code == 1000


def stall(dialed: Dialed) -> None:
    """Fills the way to a peer that does not read, until the connection's writer polls."""
    blocked = threading.Event()
    transport = dialed.connection._transport
    wait_writable = transport.wait_writable

    def tell(timeout: float) -> None:
        blocked.set()
        wait_writable(timeout)

    transport.wait_writable = tell  # type: ignore[method-assign]
    dialed.connection.send(dialed.connection.binary(bytes(8 * MIB)))
    assert blocked.wait(PATIENCE)


def test_a_peer_that_stalls_over_tls_is_given_up_in_time(certificate: Certificate) -> None:
    with TlsPeer(certificate) as peer, Dialed(peer.url, ssl_context=certificate.client()) as dialed:
        assert peer.ready.wait(PATIENCE)
        stall(dialed)
        dialed.hand.clock.advance(10)
        assert dialed.join().code == 3009


def test_a_peer_that_stalls_over_tls_and_goes_on_gets_every_byte(certificate: Certificate) -> None:
    with TlsPeer(certificate) as peer, Dialed(peer.url, ssl_context=certificate.client()) as dialed:
        assert peer.ready.wait(PATIENCE)
        stall(dialed)
        peer.socket.sendall(text_frame("while you wait", mask=None))
        assert dialed.wait_for(1) == ["while you wait"], "a full socket does not hold up the reader"
        dialed.connection.ping(b"mine")
        dialed.connection.send(dialed.connection.text("after"))
        dialed.connection.close(1000)
        data = b"".join(iter(lambda: peer.socket.recv(1 << 20), b""))
        assert [(opcode, len(payload)) for opcode, _, payload in masked_frames(data)] == [
            (BINARY, 8 * MIB),
            (PING, 4),
            (TEXT, 5),
            (CLOSE, 16),
        ]
        peer.socket.close()
        assert dialed.join().code == 1000


def test_an_abort_wakes_reader_and_writer_over_tls(certificate: Certificate) -> None:
    with TlsPeer(certificate) as peer, Dialed(peer.url, ssl_context=certificate.client()) as dialed:
        assert peer.ready.wait(PATIENCE)
        stall(dialed)
        dialed.connection.abort(1011)
        assert dialed.join().code == 1011


def test_many_at_once_leave_nothing_behind(start_server: Callable[..., str]) -> None:
    url = start_server()

    def talk() -> None:
        for i in range(5):
            with Dialed(url) as dialed:
                dialed.connection.send(dialed.connection.text(str(i)))
                assert dialed.wait_for(1) == [str(i)]
                dialed.connection.close(1000)
                assert dialed.join().code == 1000

    run_all([talk] * 8)
