"""Requests with anything wrong in them: each is read or refused, however it is cut up, and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from threadchat.server.http import handshake
from threadchat.server.http.environ import make_environ, server_part
from threadchat.server.http.request import (
    BODY_BYTES,
    HEAD_BYTES,
    PeerGone,
    Request,
    RequestError,
    RequestReader,
)

few = settings(
    max_examples=150,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

LINES = [
    b"Host: chat.example",
    b"Host: chat.example:8080",
    b"Host:",
    b"Host: [::1]:80",
    b"Host: a b",
    b"Connection: Upgrade",
    b"Connection: keep-alive, Upgrade",
    b"Upgrade: websocket",
    b"Upgrade: h2c, WebSocket",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ",
    b"Sec-WebSocket-Key:",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Version: 8",
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    b"Sec-WebSocket-Protocol: chat, superchat",
    b"Origin: https://chat.example",
    b"Origin: null",
    b"Origin: https://evil.example:99999",
    b"Content-Length: 5",
    b"Content-Length: 5",
    b"Content-Length: 99999999999999999999999",
    b"Content-Length: 65537",
    b"Content-Length: -1",
    b"Transfer-Encoding: chunked",
    b"Expect: 100-continue",
    b"Cookie: a=b; c=\xe4",
    b"X-Forwarded-For: 1.2.3.4",
    b"X: " + b"y" * 5000,
    b" folded",
    b"NoColon",
    b": empty",
    b"Bad Name: x",
    b"X: a\0b",
    b"X: a\rb",
]
TARGETS_OF = [
    b"/",
    b"/chat",
    b"/ws?x=%zz",
    b"/%41",
    b"/%zz",
    b"*",
    b"http://h/",
    b"http://h:x/",
    b"//",
    b"/\xff",
    b"/" + b"x" * 9000,
]

REQUESTS = st.builds(
    lambda method, target, version, lines, ending, body: (
        method
        + b" "
        + target
        + b" "
        + version
        + ending
        + b"".join(line + ending for line in lines)
        + ending
        + body
    ),
    st.sampled_from([b"GET", b"GET", b"GET", b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"get", b"", b"G T"]),
    st.sampled_from(TARGETS_OF[:3] * 4 + TARGETS_OF),
    st.sampled_from([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.12", b"HTTP", b""]),
    st.lists(st.sampled_from(LINES[:1] * 8 + LINES[5:14] * 3 + LINES) | st.binary(max_size=30), max_size=12),
    st.sampled_from([b"\r\n"] * 6 + [b"\n", b"\r", b"\n\r"]),
    st.sampled_from([b"", b"", b"hello", b"hello, world", b"\x81\x80\0\0\0\0"]),
)


class Chunks:
    """A socket from which these pieces come, then the end; whoever asks has time."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = [chunk for chunk in reversed(list(chunks)) if chunk]
        self.sent = b""

    def settimeout(self, seconds: float) -> None:
        """Time does not pass here."""
        assert seconds > 0

    def recv(self, size: int) -> bytes:
        """As a socket's."""
        if not self._chunks:
            return b""
        chunk = self._chunks.pop()
        if len(chunk) > size:
            self._chunks.append(chunk[size:])
        return chunk[:size]

    def sendall(self, data: bytes) -> None:
        """What is sent before the reply: an interim one."""
        assert data.startswith(b"HTTP/1.1 100 ")
        self.sent += data


def read(chunks: Iterable[bytes]) -> Request | int | None:
    """The request, the status of a refusal, or None for one who left."""
    try:
        request = RequestReader(Chunks(chunks), 5.0, lambda: 0.0).read()  # type: ignore[arg-type]
        return replace(request, body=request.body.read())  # type: ignore[arg-type]
    except RequestError as refusal:
        return refusal.status.value
    except PeerGone:
        return None


def check_request(data: bytes, cuts: list[int]) -> None:
    """Read or refused, whole or byte by byte; and a request can be judged as a handshake."""
    whole = read([data])
    bytewise = read([data[at : at + 1] for at in range(len(data))])
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = read([data[begin:end] for begin, end in itertools.pairwise(edges)])
    if isinstance(whole, Request):
        assert _without_rest(bytewise) == _without_rest(pieces) == _without_rest(whole)
        check_environ(whole)
    else:
        # Several things may be wrong: what comes first in time is told.
        for outcome in (whole, bytewise, pieces):
            assert outcome is None or (isinstance(outcome, int) and 400 <= outcome < 600)


def _without_rest(outcome: Any) -> Any:
    """What followed the request is read as far as it came with it."""
    assert isinstance(outcome, Request)
    return (outcome.method, outcome.path, outcome.query, outcome.headers, outcome.body, outcome.version)


def check_environ(request: Request) -> None:
    """What was read goes into an environ, and is judged, without an exception."""
    assert len(request.body) <= BODY_BYTES
    assert sum(len(name) + len(value) for name, value in request.headers) <= HEAD_BYTES
    environ = make_environ(request, server_part("127.0.0.1", 80), ("127.0.0.1", 1))
    handshake.upgrade_requested(environ)
    refusal = handshake.refuse(environ)
    assert refusal is None or refusal.status[:1] == "4"


def check_mutated(data: bytes, cuts: list[int], changes: list[tuple[int, int, bytes]]) -> None:
    """A request of which some bytes were replaced by others."""
    spoiled = bytearray(data)
    for at, length, put in changes:
        begin = at % (len(spoiled) + 1)
        spoiled[begin : begin + length] = put
    check_request(bytes(spoiled), cuts)


CUTS = st.lists(st.integers(0, 20_000), max_size=5)
CHANGES = st.lists(
    st.tuples(st.integers(0, 20_000), st.integers(0, 4), st.binary(max_size=4)), min_size=1, max_size=4
)

TARGETS = {
    "requests": (check_request, (REQUESTS, CUTS)),
    "requests with bytes changed": (check_mutated, (REQUESTS, CUTS, CHANGES)),
    "bytes for requests": (check_request, (st.binary(max_size=300), CUTS)),
}
"""What scripts/fuzz runs for longer: a check, and what to give it."""


@few
@given(REQUESTS, CUTS)
def test_requests_right_and_wrong(data: bytes, cuts: list[int]) -> None:
    check_request(data, cuts)


@few
@given(REQUESTS, CUTS, CHANGES)
def test_requests_with_bytes_changed(
    data: bytes, cuts: list[int], changes: list[tuple[int, int, bytes]]
) -> None:
    check_mutated(data, cuts, changes)


@few
@given(st.binary(max_size=300), CUTS)
def test_any_bytes(data: bytes, cuts: list[int]) -> None:
    check_request(data, cuts)
