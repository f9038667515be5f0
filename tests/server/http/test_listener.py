"""Where `server/http/listener.py` binds, and what it sets on sockets."""

from __future__ import annotations

import errno
import socket

import pytest

from threadchat.server.http.listener import bind, explained, reserve, tune
from threadchat.wire.transport import SEND_BUFFER


def test_a_taken_port_is_an_error_and_leaks_nothing() -> None:
    with bind("127.0.0.1", 0) as first, pytest.raises(OSError) as caught:
        bind("127.0.0.1", first.getsockname()[1])
    assert caught.value.errno == errno.EADDRINUSE


def test_a_port_may_be_shared_by_those_who_agree() -> None:
    with bind("127.0.0.1", 0, shared=True) as first:
        port = first.getsockname()[1]
        with bind("127.0.0.1", port, shared=True) as second:
            assert second.getsockname() == first.getsockname()
            with pytest.raises(OSError, match="in use"):
                bind("127.0.0.1", port)


def test_a_reserved_port_is_taken_but_nobody_listens() -> None:
    with reserve("127.0.0.1", 0) as reserved:
        address = reserved.getsockname()
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind(address)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        with bind(*address, shared=True), socket.create_connection(address):
            pass


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            OSError(errno.EADDRINUSE, "Address already in use"),
            "chat.example port 80 is in use by another program; choose another port, or 0 for any free one",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied"),
            "chat.example port 80 requires privileges; choose a port of 1024 or above",
        ),
        (
            OSError(errno.EADDRNOTAVAIL, "Cannot assign"),
            "chat.example is not an address of this machine; choose a host that is",
        ),
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "host chat.example cannot be resolved: Name or service not known",
        ),
        (
            UnicodeError("label empty or too long"),
            "host chat.example cannot be resolved: label empty or too long",
        ),
        (
            OSError(errno.EMFILE, "Too many open files"),
            "cannot listen on chat.example port 80: Too many open files",
        ),
        (OSError("no reason"), "cannot listen on chat.example port 80: no reason"),
    ],
)
def test_the_text_of_an_error_says_what_to_change(error: OSError | UnicodeError, text: str) -> None:
    found = explained(error, "chat.example", 80)
    assert found.strerror == text
    assert found.errno == getattr(error, "errno", socket.EAI_NONAME)


def test_every_error_of_binding_is_explained() -> None:
    with bind("127.0.0.1", 0) as first, pytest.raises(OSError, match="is in use by another program; choose"):
        bind("127.0.0.1", first.getsockname()[1])
    with pytest.raises(socket.gaierror, match=r"host a\.\.example cannot be resolved"):
        bind("a..example", 0)


def test_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(OSError):
        bind("192.0.2.1", 0)


def test_the_next_address_is_tried_where_the_first_is_not_of_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def addresses(host: str, port: int, **_: object) -> list[object]:
        kinds = socket.AF_INET, socket.SOCK_STREAM, 0, ""
        return [(*kinds, ("192.0.2.1", port)), (*kinds, ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", addresses)
    with bind("two.example", 0) as bound:
        assert bound.getsockname()[0] == "127.0.0.1"


def test_ipv6() -> None:
    try:
        bound = bind("::1", 0)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with bound:
        assert bound.family == socket.AF_INET6


def test_accepted_sockets_are_tuned() -> None:
    with bind("127.0.0.1", 0) as bound:
        bound.setblocking(True)
        with socket.create_connection(bound.getsockname()), bound.accept()[0] as accepted:
            tune(accepted)
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            size = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            assert size in (SEND_BUFFER, 2 * SEND_BUFFER)  # Linux counts its own share
