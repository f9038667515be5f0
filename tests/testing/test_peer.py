"""Covers threadchat/testing/peer.py and slow.py, against a real server, and against one that misbehaves."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from wsgiref.types import StartResponse

import pytest

from threadchat import CommandError, ConnectionClosed
from threadchat.errors import HandshakeRefused
from threadchat.testing import InMemory, LiveServer, Peer, SlowPeer, StallingPeer
from threadchat.wire.protocol import frames

T = TypeVar("T")
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
HELLO = frames.encode(frames.TEXT, b'"hello"')


@pytest.fixture
def server(threadchat_server: LiveServer) -> LiveServer:
    return threadchat_server


@contextlib.contextmanager
def scripted(*says: bytes, reset: bool = False) -> Iterator[str]:
    """The URL of a server that reads a request, says what it is told to, and ends the stream."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            accepted, _ = listener.accept()
            with accepted:
                while not accepted.recv(1 << 16).endswith(b"\r\n\r\n"):
                    pass
                for data in says:
                    accepted.sendall(data)
                if reset:
                    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    return
                accepted.shutdown(socket.SHUT_WR)
                with contextlib.suppress(OSError):
                    while accepted.recv(1 << 16):
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            thread.join()


def all_of(read: Callable[[], T]) -> tuple[list[T], ConnectionClosed]:
    """Everything until the connection ends, and why it did."""
    found = []
    while True:
        try:
            found.append(read())
        except ConnectionClosed as end:
            return found, end


# -- talking -----------------------------------------------------------------------------------------


def test_ask_keeps_what_came_before_the_reply(server: LiveServer) -> None:
    with Peer(server.url) as ann, Peer(server.url) as bob:
        for peer, name in ((ann, "ann"), (bob, "bob")):
            peer.ask("hello", nickname=name)
            peer.ask("join", room="lobby")
        for number in range(3):
            ann.ask("message", room="lobby", message=str(number))
        assert bob.ask("count", room="lobby")["count"] == 5
        assert bob.ask("ping")["type"] == "ok"
        events = [bob.next() for _ in range(4)]
        assert [event.get("message") for event in events] == [None, "0", "1", "2"]


def test_a_refusal_has_its_code(server: LiveServer) -> None:
    with Peer(server.url) as peer, pytest.raises(CommandError, match="hello") as refusal:
        peer.ask("join", room="lobby")
    assert refusal.value.code == 101
    assert not refusal.value.temporary


def test_text_and_objects_and_bytes(server: LiveServer) -> None:
    with Peer(server.url) as peer:
        peer.send('{"type": "ping", "id": 1}')
        peer.send({"type": "ping", "id": "zwei"})
        assert [peer.next()["re"] for _ in range(2)] == [1, "zwei"]
        peer.send(b"\0")
        with pytest.raises(ConnectionClosed) as end:
            peer.recv()
        assert end.value.code == 1003
        assert peer.closed is end.value


def test_pings_are_answered_while_it_reads() -> None:
    says = [SWITCHING, frames.encode(frames.PING, b"x"), HELLO, frames.encode_close(1001, "bye")]
    with scripted(*says) as url, Peer(url) as peer:
        assert peer.recv() == '"hello"'
        for _ in range(2):
            with pytest.raises(ConnectionClosed, match="1001 bye"):
                peer.recv()


def test_what_is_no_object_is_not_taken_for_one() -> None:
    complaint = r"'hello'.*not a JSON object"
    with scripted(SWITCHING, HELLO) as url, Peer(url) as peer, pytest.raises(ValueError, match=complaint):
        peer.next()


@pytest.mark.parametrize("cuts", [1, 2, 7])
def test_frames_may_come_in_pieces(cuts: int) -> None:
    data = SWITCHING + HELLO + frames.encode(frames.BINARY, bytes(200)) + HELLO
    with scripted(*(data[i : i + cuts] for i in range(0, len(data), cuts))) as url, Peer(url) as peer:
        assert [peer.recv() for _ in range(3)] == ['"hello"', bytes(200), '"hello"']


def test_silence_is_an_error_that_says_so(server: LiveServer) -> None:
    with Peer(server.url, timeout=30) as peer:
        peer.socket.settimeout(0.05)  # only now: until here everything may take its time
        with pytest.raises(TimeoutError, match=r"nothing came within 0\.05 s"):
            peer.recv()
        peer.socket.settimeout(30)


# -- the beginning -----------------------------------------------------------------------------------


def test_headers_go_out_with_the_request(server: LiveServer) -> None:
    with pytest.raises(HandshakeRefused) as refusal:
        Peer(server.url, headers={"Origin": "https://elsewhere.example"})
    assert refusal.value.status == 403
    assert "allow_origin" in str(refusal.value.body)


def test_a_query_goes_out_with_the_path() -> None:
    asked: list[str] = []

    def application(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        asked.append(f"{environ['PATH_INFO']} {environ['QUERY_STRING']}")
        start_response("403 Forbidden", [("Content-Length", "0")])
        return []

    with InMemory(application) as memory, pytest.raises(HandshakeRefused):
        memory.connect("/chat?token=a&b=")
    assert asked == ["/chat token=a&b="]


def test_no_such_path(server: LiveServer) -> None:
    with pytest.raises(HandshakeRefused) as refusal:
        Peer(server.at("/nowhere"))
    assert refusal.value.status == 404


@pytest.mark.parametrize("url", ["http://127.0.0.1/chat", "ws:///chat", "127.0.0.1:80", "wss://host/chat"])
def test_what_is_no_address_for_it(url: str) -> None:
    with pytest.raises(ValueError, match="ws://host:port/path"):
        Peer(url)


def test_nobody_there() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            Peer(f"ws://127.0.0.1:{probe.getsockname()[1]}/chat")


@pytest.mark.parametrize(
    ("answer", "status"), [(b"", 0), (b"220 mail\r\n\r\n", 0), (b"HTTP/1.1 200 OK\r\n\r\nhi", 200)]
)
def test_an_answer_that_is_none(answer: bytes, status: int) -> None:
    with scripted(answer) as url, pytest.raises(HandshakeRefused) as refusal:
        Peer(url)
    assert refusal.value.status == status


# -- the end -----------------------------------------------------------------------------------------


def test_a_close_is_said_and_heard(server: LiveServer) -> None:
    peer = Peer(server.url)
    peer.ask("hello", nickname="ann")
    peer.close()
    assert peer.closed is not None
    assert peer.closed.code == 1000
    peer.close()
    assert "closed: 1000" in repr(peer)
    with pytest.raises(ConnectionClosed):
        peer.recv()


def test_a_reset_is_none(server: LiveServer) -> None:
    peer = Peer(server.url)
    peer.ask("hello", nickname="ann")
    peer.reset()
    peer.close()
    assert server.chat.drain(10)


@pytest.mark.parametrize("reset", [False, True])
def test_a_server_that_ends_without_a_close(reset: bool) -> None:
    with scripted(SWITCHING, reset=reset) as url, Peer(url) as peer, pytest.raises(ConnectionClosed) as end:
        peer.recv()
    assert end.value.code == 1006


# -- those that read too little ----------------------------------------------------------------------


def stall(server: LiveServer, peer: StallingPeer) -> Callable[[int], object]:
    """Brings a peer into the lobby, and stalls it; returns what says so many kilobytes there."""
    peer.ask("hello", nickname="bob")
    peer.ask("join", room="lobby")
    assert peer.next()["type"] == "join"
    peer.stall()
    lobby = server.chat.hub.room("lobby")
    return lambda count: [lobby.message("ann", f"{number:04}" * 250) for number in range(count)]


@pytest.mark.threadchat(send_timeout=60, write_timeout=60)
def test_what_a_stalled_peer_missed_is_there_when_it_resumes(
    server: LiveServer, threadchat_stalling_peer: Callable[[str], StallingPeer]
) -> None:
    peer = threadchat_stalling_peer(server.url)
    stall(server, peer)(600)
    with pytest.raises(RuntimeError, match=r"call resume\(\) first"):
        peer.recv()
    peer.resume()
    assert [peer.next()["message"][:4] for _ in range(600)] == [f"{number:04}" for number in range(600)]


@pytest.mark.threadchat(send_timeout=0.05, write_timeout=0.1)
def test_a_peer_that_stays_stalled_is_disconnected(
    server: LiveServer, threadchat_stalling_peer: Callable[[str], StallingPeer]
) -> None:
    gone = threading.Event()
    server.chat.on_disconnect(lambda info, code, reason: gone.set())
    peer = threadchat_stalling_peer(server.url)
    stall(server, peer)(600)
    assert gone.wait(30)
    peer.resume()
    _, end = all_of(peer.recv)
    assert end.code == 1006


def test_its_receive_buffer_is_tiny(server: LiveServer) -> None:
    with StallingPeer(server.url) as stalling, SlowPeer(server.url, 10) as slow, Peer(server.url) as quick:
        sizes = [
            peer.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) for peer in (stalling, slow, quick)
        ]
    assert max(sizes[:2]) < 8192 < sizes[2]


@pytest.mark.parametrize(("rate", "steps"), [(100, 12), (1000, 2), (1e6, 1), (33.5, 34)])
def test_a_slow_peer_reads_at_its_rate(rate: float, steps: int) -> None:
    frame = frames.encode(frames.TEXT, b"x" * 1120)  # 1,124 bytes with its header
    with scripted(SWITCHING, frame) as url, SlowPeer(url, rate) as peer:
        read = [peer.step() for _ in range(steps)]
        assert read == [[]] * (steps - 1) + [["x" * 1120]]
        with pytest.raises(ConnectionClosed):
            peer.step(2)


def test_a_step_returns_what_came_before_the_end() -> None:
    with scripted(SWITCHING, HELLO * 3, frames.encode_close(1001, "")) as url, SlowPeer(url, 1000) as peer:
        steps, end = all_of(peer.step)
    assert [message for step in steps for message in step] == ['"hello"'] * 3
    assert end.code == 1001
