"""Tests of hosts with several addresses: which are tried, in which order, and which wins."""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.wire.helpers import PATIENCE, finish, hole, start
from threadchat import Client, connect, serve
from threadchat.errors import CannotConnect, ConnectTimeout
from threadchat.testing import LiveServer
from threadchat.wire.connecting import dial, racing
from threadchat.wire.connecting.cancellation import Cancellation
from threadchat.wire.connecting.dial import Deadline
from threadchat.wire.connecting.racing import MOST_REMEMBERED, Found, Remembered, connect_first, interleaved

V4, V6 = socket.AF_INET, socket.AF_INET6

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no full backlog swallows a SYN")


def address(port: int, family: int = V4, host: str = "127.0.0.1") -> Found:
    return family, socket.SOCK_STREAM, 6, "", (host, port)


class Watched(Cancellation):
    """Knows all sockets that there were."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[socket.socket] = []

    def watch(self, sock: socket.socket) -> None:
        self.seen.append(sock)
        super().watch(sock)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def race(*found: Found, seconds: float = 1000.0) -> tuple[int, list[socket.socket]]:
    """The port that was reached, and the sockets of all attempts; only the winner's was open."""
    cancellation = Watched()
    sock, endpoint = connect_first(found, Deadline(seconds, lambda: 5.0), cancellation)
    with sock:
        assert sock.getpeername() == endpoint
        assert sock.gettimeout() == seconds
        assert [one.fileno() >= 0 for one in cancellation.seen] == [one is sock for one in cancellation.seen]
        assert cancellation._sockets == {sock}
    return endpoint[1], cancellation.seen


def test_one_that_leads_nowhere_takes_no_time_from_the_next(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with hole() as nowhere:
        reached, seen = race(address(nowhere[1]), address(nowhere[1]), address(port))
    assert (reached, len(seen)) == (port, 3)


def test_one_that_fails_makes_way_at_once(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(racing, "ATTEMPT_DELAY", 1000.0)
    port = listener.getsockname()[1]
    assert race(address(closed_port()), address(closed_port()), address(port))[0] == port


def test_the_first_is_enough_where_it_answers(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(racing, "ATTEMPT_DELAY", 1000.0)
    reached, seen = race(address(listener.getsockname()[1]), address(1))
    assert (reached, len(seen)) == (listener.getsockname()[1], 1)


def test_a_slow_one_still_counts_beside_the_next(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is through only after the second, which leads nowhere, has joined it."""
    port = listener.getsockname()[1]
    with hole() as slow, hole() as nowhere:
        select = selectors.DefaultSelector.select
        rounds: list[int] = []

        def later(self: Any, timeout: float | None = None) -> Any:
            rounds.append(len(self.get_map()))
            if len(rounds) < 2:
                return []
            found = select(self, timeout)
            return found if len(rounds) > 2 else []

        monkeypatch.setattr(selectors.DefaultSelector, "select", later)
        assert race(address(port), address(slow[1]), address(nowhere[1]))[0] == port
    assert rounds == [1, 2, 3]


def test_a_family_that_the_system_has_not_is_passed_over(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert race((9999, socket.SOCK_STREAM, 6, "", ("x", 1)), address(port))[0] == port


def test_where_all_fail_the_last_says_why() -> None:
    with pytest.raises(ConnectionRefusedError):
        race((9999, socket.SOCK_STREAM, 6, "", ("x", 1)), address(closed_port()))
    with pytest.raises(OSError, match="no address"):
        race()


def test_the_deadline_is_one_for_all() -> None:
    now = iter([0.0, 0.0, 0.0])  # over with the third attempt's turn
    cancellation = Watched()
    with hole() as nowhere, pytest.raises(ConnectTimeout, match="within 9 s"):
        connect_first([address(nowhere[1])] * 5, Deadline(9.0, lambda: next(now, 9.0)), cancellation)
    assert [sock.fileno() for sock in cancellation.seen] == [-1] * 3
    assert not cancellation._sockets


def test_giving_up_ends_all_attempts() -> None:
    cancellation = Watched()
    joined = threading.Event()
    watch = cancellation.watch

    def tell(sock: socket.socket) -> None:
        watch(sock)
        if len(cancellation.seen) == 2:
            joined.set()

    cancellation.watch = tell  # type: ignore[method-assign]
    errors: list[BaseException] = []

    def run(nowhere: int) -> None:
        try:
            connect_first([address(nowhere)] * 2, Deadline(1000.0, lambda: 0.0), cancellation)
        except OSError as error:
            errors.append(error)

    with hole() as nowhere:
        thread = start(lambda: run(nowhere[1]))
        assert joined.wait(PATIENCE)
        cancellation.cancel()
        finish(thread)
    assert len(errors) == 1
    assert [sock.fileno() for sock in cancellation.seen] == [-1, -1]


def test_what_was_given_up_begins_no_further_attempt(listener: socket.socket) -> None:
    cancellation = Watched()
    cancellation.cancel()
    with pytest.raises(CannotConnect, match="the attempt to connect was cancelled"):
        connect_first([address(listener.getsockname()[1])] * 2, Deadline(9.0, lambda: 0.0), cancellation)
    assert [sock.fileno() for sock in cancellation.seen] == [-1]


def test_an_interruption_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: Any, timeout: float | None = None) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(selectors.DefaultSelector, "select", interrupt)
    cancellation = Watched()
    with hole() as nowhere, pytest.raises(KeyboardInterrupt):
        connect_first([address(nowhere[1])], Deadline(9.0, lambda: 0.0), cancellation)
    assert [sock.fileno() for sock in cancellation.seen] == [-1]


def test_a_descriptor_that_is_missing_is_an_error_of_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", none_left)
    with pytest.raises(OSError, match="Too many open files"):
        connect_first([address(1), address(2)], Deadline(9.0, lambda: 0.0), Cancellation())


# -- the order ---------------------------------------------------------------------------------------


def test_families_take_turns() -> None:
    six = [address(port, V6, "::1") for port in (1, 2, 3)]
    four = [address(port) for port in (4, 5)]
    assert interleaved([*six, *four]) == [six[0], four[0], six[1], four[1], six[2]]
    assert interleaved([*four, *six]) == [four[0], six[0], four[1], six[1], six[2]]
    assert interleaved(four) == four
    assert interleaved([]) == []


def test_what_worked_last_is_tried_first() -> None:
    found = [address(1, V6, "::1"), address(2, V6, "::1"), address(3)]
    remembered = Remembered()
    assert remembered.ordered("chat.example", 80, found) == [found[0], found[2], found[1]]
    remembered.note("chat.example", 80, found[2][4])
    assert remembered.ordered("chat.example", 80, found) == [found[2], found[0], found[1]]
    assert remembered.ordered("chat.example", 81, found)[0] == found[0]
    remembered.note("chat.example", 80, ("10.9.9.9", 80))  # which the name does not have any more
    assert remembered.ordered("chat.example", 80, found)[0] == found[0]


def test_not_every_host_is_remembered_for_ever() -> None:
    remembered = Remembered()
    for number in range(3 * MOST_REMEMBERED):
        remembered.note(f"{number}.example", 80, ("127.0.0.1", 80))
        assert len(remembered._endpoints) <= MOST_REMEMBERED


# -- with a client -----------------------------------------------------------------------------------


@contextlib.contextmanager
def two_addresses(monkeypatch: pytest.MonkeyPatch, port: int) -> Iterator[list[int]]:
    """A host `chat.example` whose first address leads nowhere; the ports that are tried."""
    tried: list[int] = []
    begin = racing._begin

    def tell(one: Found, *rest: Any) -> Any:
        tried.append(one[4][1])
        return begin(one, *rest)

    with hole() as nowhere:
        found = [address(nowhere[1]), address(port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        monkeypatch.setattr(racing, "_begin", tell)
        monkeypatch.setattr(dial, "_remembered", Remembered())
        yield tried


def test_the_client_gets_through_and_remembers_how(monkeypatch: pytest.MonkeyPatch) -> None:
    with LiveServer(allow_host="*") as server:
        port = int(server.page.rsplit(":")[-1].strip("/"))
        with two_addresses(monkeypatch, port) as tried:
            for _ in range(2):
                with Client(f"http://chat.example:{port}", "ann", timeout=1000) as ann:
                    assert ann.user
    assert tried[1:] == [port, port]
    assert tried[0] != port


def test_so_does_a_plain_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        serve(lambda websocket: websocket.send("hi"), "127.0.0.1", 0) as server,
        two_addresses(monkeypatch, server.port) as tried,
    ):
        for _ in range(2):
            with connect("ws://chat.example/", open_timeout=1000) as websocket:
                assert websocket.recv(PATIENCE) == "hi"
    assert tried[1:] == [server.port, server.port]
