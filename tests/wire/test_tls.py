"""TLS under two threads, against Python's own and openssl's, on real sockets."""

from __future__ import annotations

import contextlib
import fcntl
import resource
import select
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.conftest import Certificate
from tests.wire.helpers import (
    PATIENCE,
    FakeClock,
    Turnless,
    finish,
    reset,
    run_all,
    start,
    steady,
    switching,
    tcp_pair,
    until,
)
from threadchat.wire import tls
from threadchat.wire.tls import TlsSocket

LOOPBACK = "127.0.0.1"
MIB = 1 << 20
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def contexts(
    certificate: Certificate, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's that agree on `version`."""
    server, client = certificate.server(), certificate.client()
    client.maximum_version = client.minimum_version = version
    return server, client


def shake_hands(*sockets: TlsSocket) -> None:
    run_all([lambda it=it: it.handshake(PATIENCE) for it in sockets])  # type: ignore[misc]


def tls_pair(
    certificate: Certificate, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, *, small: bool = False
) -> tuple[TlsSocket, TlsSocket]:
    """A server's end and a client's, agreed; nothing is on the way between them."""
    for_server, for_client = contexts(certificate, version)
    accepted, connected = tcp_pair(small=small)
    server = TlsSocket(accepted, for_server, server_side=True)
    client = TlsSocket(connected, for_client, server_hostname="localhost")
    shake_hands(server, client)
    server.sendall(b"!")  # the session's tickets come before it
    assert client.recv(1) == b"!"
    return server, client


@pytest.fixture(params=VERSIONS, ids=["1.2", "1.3"])
def pair(certificate: Certificate, request: pytest.FixtureRequest) -> Iterator[tuple[TlsSocket, TlsSocket]]:
    server, client = tls_pair(certificate, request.param)
    yield server, client
    server.close()
    client.close()


Pair = tuple[TlsSocket, TlsSocket]


def pump(sock: TlsSocket, data: bytes) -> None:
    """Sends as a connection's writer does."""
    rest = memoryview(data)
    while rest:
        sent = sock.send(rest, socket.MSG_DONTWAIT)
        rest = rest[sent:]
        if not sent:
            poll = select.poll()
            poll.register(sock, select.POLLOUT)
            poll.poll(250)


def receive(sock: TlsSocket | ssl.SSLSocket, size: int) -> bytes:
    parts = []
    while size:
        data = sock.recv(min(size, 1 << 16))
        assert data, "the stream ended"
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def pattern(seed: int, size: int = MIB) -> bytes:
    return bytes((seed + i * 7) & 0xFF for i in range(4099)) * (size // 4099 + 1)


def fill(sock: TlsSocket) -> bytes:
    """Sends until the socket takes nothing more; returns what counts as sent."""
    block = pattern(3, 300_000)
    sent = b""
    while count := sock.send(block[len(sent) % 4099 :]):
        sent += block[len(sent) % 4099 :][:count]
    return sent


def watch_recv(sock: TlsSocket) -> threading.Event:
    """Set once the reader waits for the TCP socket."""
    waits = threading.Event()
    raw = sock._socket

    class Telling:
        def __getattr__(self, name: str) -> object:
            return getattr(raw, name)

        def recv(self, size: int) -> bytes:
            assert not sock._lock.locked()
            waits.set()
            return raw.recv(size)

    sock._socket = Telling()  # type: ignore[assignment]
    return waits


class OneAtATime:
    """OpenSSL's object, which must not be used by two threads at once: under the lock, always."""

    def __init__(self, sock: TlsSocket) -> None:
        self._tls = sock._tls
        self._lock = sock._lock
        self.busy = False
        self.calls = 0

    def read(self, size: int) -> Any:
        return self._alone(lambda: self._tls.read(size))

    def write(self, data: memoryview) -> Any:
        return self._alone(lambda: self._tls.write(data))

    def _alone(self, call: Callable[[], Any]) -> Any:
        assert self._lock.locked()
        assert not self.busy
        self.busy = True
        try:
            self.calls += 1
            return call()
        finally:
            self.busy = False


# -- bytes -------------------------------------------------------------------------------------------


def test_a_megabyte_each_way_at_once_and_again(pair: Pair) -> None:
    """Four threads, and the interpreter changes between them as often as it can."""
    server, client = pair
    down, up = pattern(1), pattern(2)
    found: dict[str, bytes] = {}
    watched = [OneAtATime(sock) for sock in pair]
    for sock, watch in zip(pair, watched, strict=True):
        sock._tls = watch  # type: ignore[assignment]
    with switching():
        run_all(
            [
                lambda: pump(server, down * 3),
                lambda: pump(client, up * 3),
                lambda: found.update(down=receive(client, 3 * len(down))),
                lambda: found.update(up=receive(server, 3 * len(up))),
            ]
        )
    assert found["down"] == down * 3
    assert found["up"] == up * 3
    assert all(watch.calls > 3 * 64 for watch in watched)


@pytest.mark.parametrize("side", ["server", "client"])
def test_the_other_end_may_be_pythons_own(certificate: Certificate, side: str) -> None:
    for_server, for_client = contexts(certificate)
    accepted, connected = tcp_pair()
    others: list[ssl.SSLSocket] = []
    if side == "client":
        ours = TlsSocket(connected, for_client, server_hostname="localhost")
        shake = start(lambda: others.append(for_server.wrap_socket(accepted, server_side=True)))
    else:
        ours = TlsSocket(accepted, for_server, server_side=True)
        shake = start(lambda: others.append(for_client.wrap_socket(connected, server_hostname="localhost")))
    ours.handshake(PATIENCE)
    finish(shake)
    other = others[0]
    data = pattern(5)
    echoed: list[bytes] = []
    reader = start(lambda: echoed.append(receive(ours, len(data))))

    def echo() -> None:
        other.sendall(receive(other, len(data)))

    echoer = start(echo)
    pump(ours, data)
    finish(reader, echoer)
    assert echoed == [data]
    ours.close()
    other.close()


def test_a_read_smaller_than_a_record_leaves_the_rest_for_the_next(pair: Pair) -> None:
    server, client = pair
    server.sendall(b"0123456789")
    assert [client.recv(4), client.recv(4), client.recv(4)] == [b"0123", b"4567", b"89"]


def test_half_a_record_is_waited_for(certificate: Certificate) -> None:
    """The ciphertext comes byte by byte."""
    server, client = tls_pair(certificate)
    relay, inner = socket.socketpair()
    outer, client._socket = client._socket, inner
    server.sendall(b"first" + bytes(3000))
    server.sendall(b"second")
    cipher = outer.recv(1 << 16)
    found: list[bytes] = []
    reader = start(lambda: found.append(receive(client, 3011)))
    for i in range(len(cipher)):
        relay.sendall(cipher[i : i + 1])
    finish(reader)
    assert found == [b"first" + bytes(3000) + b"second"]
    for sock in (relay, inner, outer, server):
        sock.close()


# -- a socket that is full -----------------------------------------------------------------------------


def test_a_stalled_peer_is_never_waited_for_and_what_counts_as_sent_is(certificate: Certificate) -> None:
    server, client = tls_pair(certificate, small=True)
    sent = fill(server)
    assert server._unsent, "a record is on its way in part"
    again = sent + fill(server)
    assert again == sent, "a full socket stays full"
    rest = pattern(3, 300_000)[len(sent) % 4099 :][: 3 * tls._PORTION]
    expected = sent + rest + b"the end"
    found: list[bytes] = []
    reader = start(lambda: found.append(receive(client, len(expected))))
    pump(server, rest)
    pump(server, b"the end")
    finish(reader)
    assert found == [expected]
    server.close()
    client.close()


def test_a_send_continues_where_the_last_one_ended(certificate: Certificate) -> None:
    server, client = tls_pair(certificate, small=True)
    fill(server)
    assert server._owed
    receiver = start(lambda: list(iter(lambda: client.recv(1 << 16), b"")))
    while server._unsent:  # some other data than those that were refused in part
        select.select([], [server], [])
        with server._lock:
            server._flush_locked()
    with pytest.raises(AssertionError, match="continues"):
        server.send(b"x")
    server.shutdown(socket.SHUT_RDWR)
    finish(receiver)
    server.close()
    client.close()


class Narrow:
    """A TCP socket that takes a few bytes at a time, or none, as the test says."""

    def __init__(self, sock: socket.socket, takes: Callable[[], int]) -> None:
        self._sock = sock
        self._takes = takes

    def send(self, data: memoryview, flags: int) -> int:
        assert flags == socket.MSG_DONTWAIT
        most = self._takes()
        if not most:
            raise BlockingIOError
        return self._sock.send(data[:most])

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)


def test_every_count_is_exact_whatever_the_socket_takes(certificate: Certificate) -> None:
    server, client = tls_pair(certificate)
    raw = server._socket

    @steady
    @given(st.lists(st.integers(0, 60_000), max_size=30), st.integers(1, 200_000))
    def check(takes: list[int], size: int) -> None:
        waiting = list(takes)
        server._socket = Narrow(raw, lambda: waiting.pop(0) if waiting else 1 << 20)  # type: ignore[assignment]
        data = pattern(size & 0xFF, size)[:size]
        rest = memoryview(data)
        found: list[bytes] = []
        reader = start(lambda: found.append(receive(client, size)))
        while rest:
            rest = rest[server.send(rest) :]
        assert not server._unsent
        finish(reader)
        assert found == [data]

    check()
    raw.close()
    client.close()


# -- timeouts, while one thread has the socket -----------------------------------------------------------


def test_a_record_that_comes_byte_by_byte_has_one_timeout_in_all(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    monkeypatch.setattr(tls, "monotonic", clock)
    server, client = tls_pair(certificate)
    with client._lock:
        client._tls.write(b"hello")
        cipher = client._outgoing.read()
    reads = 0

    class Dripping:
        def __getattr__(self, name: str) -> object:
            return getattr(client._socket, name)

        def fileno(self) -> int:
            return always.fileno()

        def recv(self, size: int) -> bytes:
            nonlocal reads
            reads += 1
            clock.advance(1)
            return cipher[reads - 1 : reads]

    always, other = socket.socketpair()
    other.sendall(b"x")  # there is always something to be read
    raw, server._socket = server._socket, Dripping()  # type: ignore[assignment]
    server.settimeout(5)
    with pytest.raises(TimeoutError):
        server.recv(100)
    assert reads == 6, "and one for what may have come while this thread was late"
    server.settimeout(None)
    assert server.recv(100) == b"hello", "nothing was lost"
    for sock in (raw, client, always, other):
        sock.close()


def test_a_peer_that_is_silent_or_does_not_read_runs_into_the_timeout(certificate: Certificate) -> None:
    server, client = tls_pair(certificate, small=True)
    server.settimeout(0.05)
    with pytest.raises(TimeoutError):
        server.recv(100)
    with pytest.raises(TimeoutError):
        server.sendall(pattern(1))
    server.close()
    client.close()


def test_a_wait_for_room_knows_high_descriptors(certificate: Certificate) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2000)), hard))
    try:
        server, client = tls_pair(certificate, small=True)
        high = socket.socket(fileno=fcntl.fcntl(server.fileno(), fcntl.F_DUPFD, 1100))
        server.close()
        server._socket = high
        data = pattern(2)
        found: list[bytes] = []
        reader = start(lambda: found.append(receive(client, len(data))))
        server.sendall(data)
        finish(reader)
        assert found == [data]
        server.close()
        client.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -- two threads ---------------------------------------------------------------------------------------


def test_a_reader_that_waits_does_not_hold_up_the_writer(pair: Pair) -> None:
    server, client = pair
    waits = watch_recv(client)
    found: list[bytes] = []
    reader = start(lambda: found.append(client.recv(100)))
    assert waits.wait(PATIENCE)
    client.sendall(b"while the other thread reads")
    assert server.recv(100) == b"while the other thread reads"
    server.sendall(b"done")
    finish(reader)
    assert found == [b"done"]


def test_what_the_readers_side_has_to_say_leaves_in_turn(certificate: Certificate) -> None:
    """Forced: TLS speaks up on the reader while half of a record waits for room."""
    server, client = tls_pair(certificate)
    takes = [100, 0, 0, 5]
    raw = server._socket
    server._socket = Narrow(raw, lambda: takes.pop(0) if takes else 1 << 20)  # type: ignore[assignment]
    data = pattern(1, 1000)
    assert server.send(data) == 0
    half = bytes(server._unsent)
    assert len(half) > 900
    real = server._tls

    class Speaking:
        """Has an answer to whatever is read, as there is one to new keys."""

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def read(self, size: int) -> bytes:
            server._outgoing.write(b"<answer>")
            return real.read(size)

    server._tls = Speaking()  # type: ignore[assignment]
    client.sendall(b"hi")
    takes[:] = [0, 0]
    answers = 0
    found = b""
    while found != b"hi":
        found += server.recv(1)
        answers = bytes(server._unsent).count(b"<answer>") + server._outgoing.pending // len(b"<answer>")
    assert bytes(server._unsent) == half, "nothing overtook the half of a record"
    assert answers
    takes[:] = [5, 0]
    assert server.send(data) == 0
    assert server.send(data) == len(data), "only now its ciphertext has left"
    before = 100
    cipher = b""
    while b"<answer>" not in cipher:
        cipher += client._socket.recv(1 << 16)
    assert cipher[before:].startswith(half + b"<answer>" * answers)
    raw.close()
    client.close()


def test_a_peer_that_has_tls_speak_and_does_not_listen_is_given_up(certificate: Certificate) -> None:
    """What would wait for room has a bound."""
    server, client = tls_pair(certificate)
    raw, real = server._socket, server._tls
    server._socket = Narrow(raw, lambda: 0)  # type: ignore[assignment]
    assert server.send(b"x") == 0
    reads = 0

    class Speaking:
        def read(self, size: int) -> bytes:
            nonlocal reads
            reads += 1
            server._outgoing.write(bytes(1000))
            return real.read(size)

    server._tls = Speaking()  # type: ignore[assignment]
    client.sendall(b"x" * 1000)

    def read() -> None:
        while server.recv(1):
            server._plain = b""
            client.sendall(b"x")

    with pytest.raises(ConnectionAbortedError, match="over and over"):
        read()
    assert reads == tls._MAX_ANSWERS // 1000 + 1
    raw.close()
    client.close()


@pytest.mark.parametrize("how", ["K", "k"])
def test_new_keys_while_both_sides_talk(certificate: Certificate, how: str) -> None:
    """OpenSSL's own client asks for new keys; the answer leaves from the reader's side."""
    openssl = shutil.which("openssl")
    assert openssl
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = [openssl, "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3"]
        peer = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        accepted, _ = listener.accept()
    assert peer.stdin
    assert peer.stdout
    server = TlsSocket(accepted, certificate.server(), server_side=True)
    server.handshake(PATIENCE)
    try:
        for word in ("one", "two", "three"):
            peer.stdin.write(f"{word}\n".encode())
            peer.stdin.flush()
            assert receive(server, len(word) + 1) == f"{word}\n".encode()
            server.sendall(f"got {word}\n".encode())
            while peer.stdout.readline() != f"got {word}\n".encode():
                pass
            peer.stdin.write(f"{how}\n".encode())
            peer.stdin.flush()
            while b"KEYUPDATE" not in peer.stdout.readline():
                pass
    finally:
        peer.kill()
        peer.wait(PATIENCE)
        peer.stdin.close()
        peer.stdout.close()
        server.close()


class Renegotiating:
    """OpenSSL's own server, which asks for a new handshake, and goes no further than the client lets it."""

    def __init__(self, certificate: Certificate) -> None:
        openssl = shutil.which("openssl")
        assert openssl
        with socket.create_server((LOOPBACK, 0)) as free:
            port = free.getsockname()[1]
        command = [openssl, "s_server", "-accept", f"{LOOPBACK}:{port}", "-tls1_2", "-naccept", "1"]
        command += ["-cert", str(certificate.chain), "-key", str(certificate.key)]
        self.peer = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self.peer.stdin
        assert self.peer.stdout
        self.stdin, self.stdout = self.peer.stdin, self.peer.stdout
        self.hear(b"ACCEPT")
        context = certificate.client()
        context.options &= ~ssl.OP_NO_RENEGOTIATION
        self.sock = TlsSocket(
            socket.create_connection((LOOPBACK, port)), context, server_hostname="localhost"
        )
        self.sock.handshake(PATIENCE)
        self.stdin.write(b"r\n")
        self.stdin.flush()
        # It asks, and our reader answers; what it says to that is not read yet.
        self.sock._take_in(self.sock._socket.recv(1 << 16))
        assert self.sock._decrypt(100) is None

    def hear(self, what: bytes) -> None:
        while what not in (line := self.stdout.readline()):
            assert line, "the server of openssl has ended"

    def __enter__(self) -> Renegotiating:
        return self

    def __exit__(self, *_: object) -> None:
        self.peer.kill()
        self.peer.wait(PATIENCE)
        self.stdin.close()
        self.stdout.close()
        self.sock.close()


def test_a_writer_does_not_spin_while_keys_are_negotiated(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read() -> None:
        with contextlib.suppress(ConnectionResetError):  # how the other end takes ours
            assert sock.recv(100) == b""

    with Renegotiating(certificate) as server:
        sock = server.sock
        waits: list[tuple[int, float | None]] = []
        poll = sock._poll

        def tell(event: int, seconds: float | None) -> bool:
            waits.append((event, seconds))
            return poll(event, seconds)

        monkeypatch.setattr(sock, "_poll", tell)
        assert sock.send(b"hello\n") == 0
        assert waits == [(tls._HANG_UP, 0)]
        sock.wait_writable(10)
        assert waits[1:] == [(tls._HANG_UP, tls._RECHECK)], "neither for room nor for something to read"
        assert sock.send(b"hello\n") == 0
        reader = start(read)  # goes on with it
        sock.sendall(b"hello\n")
        server.hear(b"hello")
        sock.shutdown(socket.SHUT_RDWR)
        finish(reader)


def test_an_end_while_keys_are_negotiated_is_an_end_to_the_writer_too(certificate: Certificate) -> None:
    with Renegotiating(certificate) as server:
        assert server.sock.send(b"hello") == 0
        server.sock.shutdown(socket.SHUT_RDWR)
        with pytest.raises(ConnectionResetError, match="during a negotiation"):
            server.sock.sendall(b"hello")


# -- the end -------------------------------------------------------------------------------------------


def test_an_orderly_end_says_close_notify(certificate: Certificate) -> None:
    for_server, for_client = contexts(certificate)
    accepted, connected = tcp_pair()
    ours = TlsSocket(accepted, for_server, server_side=True)
    others: list[ssl.SSLSocket] = []
    shake = start(
        lambda: others.append(
            for_client.wrap_socket(connected, server_hostname="localhost", suppress_ragged_eofs=False)
        )
    )
    ours.handshake(PATIENCE)
    finish(shake)
    ours.sendall(b"last words")
    ours.shutdown(socket.SHUT_WR)
    assert others[0].recv(100) == b"last words"
    assert others[0].recv(100) == b"", "without one, this would be an SSLEOFError"
    others[0].sendall(b"an answer")
    assert ours.recv(100) == b"an answer"
    ours.close()
    others[0].close()


@pytest.mark.parametrize("read", [0, 3, 20_000])
def test_what_was_on_its_way_is_read_after_our_own_end(pair: Pair, read: int) -> None:
    """Unread, at any stage, it would make OpenSSL give up."""
    server, client = pair
    data = pattern(9, 60_000)
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)
    begun = receive(server, read)
    server.shutdown(socket.SHUT_WR)
    assert begun + receive(server, len(data) - read) == data
    assert server.recv(100) == b""
    assert server.recv(100) == b""
    assert client.recv(100) == b""


def test_an_end_without_close_notify_is_an_end(pair: Pair) -> None:
    server, client = pair
    client.sendall(b"bye")
    client._socket.shutdown(socket.SHUT_WR)
    assert server.recv(100) == b"bye"
    assert server.recv(100) == b""
    assert server.recv(100) == b""


def test_a_shutdown_wakes_a_waiting_reader(pair: Pair) -> None:
    server, _ = pair
    waits = watch_recv(server)
    found: list[bytes] = []
    reader = start(lambda: found.append(server.recv(100)))
    assert waits.wait(PATIENCE)
    server.shutdown(socket.SHUT_RDWR)
    finish(reader)
    assert found == [b""]


def test_a_reset_is_an_os_error_to_both(pair: Pair) -> None:
    server, client = pair
    reset(client._socket)
    with pytest.raises(ConnectionError):
        server.recv(100)
    with pytest.raises(OSError, match="Broken pipe"):
        server.send(b"x")


def test_a_goodbye_to_a_full_socket_is_not_waited_for(certificate: Certificate) -> None:
    server, client = tls_pair(certificate, small=True)
    sent = fill(server)
    server.shutdown(socket.SHUT_WR)
    assert receive(client, len(sent)) == sent
    server.close()
    client.close()


def test_bytes_that_are_no_tls_are_an_error(pair: Pair) -> None:
    server, client = pair
    client._socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(ssl.SSLError):
        server.recv(100)


# -- the handshake -------------------------------------------------------------------------------------


def test_a_handshake_has_a_deadline_that_a_drip_of_bytes_does_not_move(certificate: Certificate) -> None:
    accepted, connected = tcp_pair()
    clock = FakeClock()

    class Dripping:
        def __getattr__(self, name: str) -> object:
            return getattr(accepted, name)

        def recv(self, size: int) -> bytes:
            clock.advance(4)
            return b"\x16\x03\x01\x02\x00"[:1]

    server = TlsSocket(accepted, certificate.server(), server_side=True)
    server._socket = Dripping()  # type: ignore[assignment]
    with pytest.raises(TimeoutError, match="not done in time"):
        server.handshake(10, clock)
    assert clock.now == 1016, "12 s, and one read of what may have come while this thread was late"
    accepted.close()
    connected.close()


def test_the_socket_waits_no_longer_than_is_left(certificate: Certificate) -> None:
    accepted, connected = tcp_pair()
    server = TlsSocket(accepted, certificate.server(), server_side=True)
    with pytest.raises(TimeoutError):
        server.handshake(0.001)
    assert accepted.gettimeout() is None
    accepted.close()
    connected.close()


@pytest.mark.parametrize(
    ("trusted", "name"), [(False, "localhost"), (True, "elsewhere.example")], ids=["unknown", "other name"]
)
def test_a_wrong_certificate_is_refused_and_the_server_is_told(
    certificate: Certificate, trusted: bool, name: str
) -> None:
    accepted, connected = tcp_pair()
    context = certificate.client() if trusted else ssl.create_default_context()
    server = TlsSocket(accepted, certificate.server(), server_side=True)
    client = TlsSocket(connected, context, server_hostname=name)
    told: list[ssl.SSLError] = []

    def serve() -> None:
        try:
            server.handshake(PATIENCE)
            server.recv(1)  # the server of TLS 1.3 is done before the client judges
        except ssl.SSLError as error:
            told.append(error)

    serving = start(serve)
    with pytest.raises(ssl.SSLCertVerificationError):
        client.handshake(PATIENCE)
    finish(serving)
    assert "ALERT" in told[0].reason
    server.close()
    client.close()


def test_a_peer_that_hangs_up_in_the_handshake_is_an_error(certificate: Certificate) -> None:
    accepted, connected = tcp_pair()
    connected.close()
    server = TlsSocket(accepted, certificate.server(), server_side=True)
    with pytest.raises(OSError, match="EOF"):
        server.handshake(PATIENCE)
    server.close()


def test_a_reader_is_behind_until_it_comes_back_for_more(certificate: Certificate) -> None:
    server, client = tls_pair(certificate)
    raw = server._socket
    server._socket = turnless = Turnless(raw)  # type: ignore[assignment]
    turnless.turn.set()
    got: list[bytes] = []
    reader = start(lambda: got.append(server.recv(100)))  # the client's end of the negotiation, then data
    until(lambda: not server.is_behind())
    turnless.turn.clear()
    turnless.taken.clear()
    client.send(b"hello")
    assert turnless.taken.wait(PATIENCE)
    assert server.is_behind(), "although nothing is left in the socket"
    turnless.turn.set()
    finish(reader)
    assert got == [b"hello"]
    assert server.is_behind(), "somebody deals with it now"
    reader = start(lambda: got.append(server.recv(100)))
    until(lambda: not server.is_behind())
    client.send(b"more")
    finish(reader)
    for sock in (raw, client):
        sock.close()
