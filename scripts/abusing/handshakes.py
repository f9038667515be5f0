"""Abuse before there is a WebSocket: slow, half, huge and malformed requests."""

from __future__ import annotations

import time

from abusing.abuse import abuse
from abusing.stranger import KEY, Stranger, upgrade
from abusing.target import Answers, Target, answers

HASTY = ("--request-timeout", "3", "--hello-timeout", "3", "--write-timeout", "3")
"""Short deadlines, so that abuses that wait for them do not take long."""
DRIP_SECONDS = 0.1  # between two bytes of a slow request


@abuse("slow handshakes", "408", flags=HASTY)
def slow_handshakes(target: Target) -> Answers:
    """A byte now and then; this must not extend the deadline of the whole request."""
    data = upgrade("/chat", *(f"X-Slow-{number}: {number}" for number in range(40)))
    strangers = [target.connect() for _ in range(target.size(200, 40))]
    slow = set(strangers)
    for byte in range(len(data)):
        for stranger in list(slow):
            stranger.send(data[byte : byte + 1])
            stranger.glance()
            if stranger.ended:
                slow.discard(stranger)
        if not slow:
            break
        time.sleep(DRIP_SECONDS)
    return answers(strangers)


@abuse("half-open connections", "408", "3502", flags=HASTY)
def half_open(target: Target) -> Answers:
    """No request, half a request, and a whole request without any command."""
    silent = [target.connect() for _ in range(target.size(100, 15))]
    half = [target.connect() for _ in range(target.size(100, 15))]
    for stranger in half:
        stranger.send(upgrade()[:90])
    upgraded = [target.open() for _ in range(target.size(100, 15))]
    return answers([*silent, *half, *upgraded])


@abuse("huge headers", "431", "414", "413")
def huge_headers(target: Target) -> Answers:
    """Too many bytes, too many lines, an endless line, and a body that is only announced."""
    start = b"GET /chat HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    bombs = (
        (start + b"X: " + b"a" * 17_000 + b"\r\n\r\n", "431"),
        (start + b"X: " + b"a" * 4_000_000, "431"),
        (start + b"X: a\r\n" * 128 + b"\r\n", "431"),
        (start + b"X: a\r\n" * 500_000, "431"),
        (b"GET /" + b"a" * 4_000_000, "414"),
        (b"\xff" * 4_000_000, "414"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n" + b"a" * 4_000_000, "413"),
    )
    total = Answers()
    for _ in range(target.size(10, 2)):
        strangers = []
        for data, expected in bombs:
            stranger = target.connect()
            stranger.send(data)
            strangers.append((stranger, expected))
        for stranger, expected in strangers:
            total[stated(stranger, expected)] += 1
    return total


def stated(stranger: Stranger, expected: str, what: str = "") -> str:
    """The answer if it is the expected one, or one of `a/b`; otherwise a text that is never expected."""
    answer = stranger.answer()
    return answer if answer in expected.split("/") else f"{answer} instead of {expected} {what}".rstrip()


def request(*lines: str, start: str = "GET /chat HTTP/1.1") -> bytes:
    return "\r\n".join((start, *lines, "", "")).encode("latin-1")


HOST, UPGRADE, CONNECTION = "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade"
KEYED, VERSION = f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13"
GOOD = (HOST, UPGRADE, CONNECTION, KEYED, VERSION)

BAD_HANDSHAKES: dict[str, tuple[bytes, str]] = {
    "no host": (request(*GOOD[1:]), "400"),
    "two hosts": (request(HOST, *GOOD), "400"),
    "a malformed host": (request("Host: a b", *GOOD[1:]), "400"),
    "no key": (request(HOST, UPGRADE, CONNECTION, VERSION), "400"),
    "an empty key": (request(HOST, UPGRADE, CONNECTION, VERSION, "Sec-WebSocket-Key:"), "400"),
    "two keys": (request(*GOOD, KEYED), "400"),
    "a short key": (request(HOST, UPGRADE, CONNECTION, VERSION, "Sec-WebSocket-Key: aGk="), "400"),
    "a key that is not base64": (
        request(HOST, UPGRADE, CONNECTION, VERSION, "Sec-WebSocket-Key: ~~~~~~~~~~~~~~~~~~~~~~=="),
        "400",
    ),
    "an old version": (request(*GOOD[:4], "Sec-WebSocket-Version: 8"), "426"),
    "no version": (request(*GOOD[:4]), "426"),
    "two versions": (request(*GOOD, "Sec-WebSocket-Version: 8"), "426"),
    "no connection header": (request(HOST, UPGRADE, KEYED, VERSION), "400"),
    "a body in chunks": (request(*GOOD, "Transfer-Encoding: chunked") + b"0\r\n\r\n", "400"),
    "two lengths": (request(*GOOD, "Content-Length: 0", "Content-Length: 0"), "400"),
    "a length and chunks": (request(*GOOD, "Content-Length: 0", "Transfer-Encoding: chunked"), "400"),
    "a negative length": (request(*GOOD, "Content-Length: -1"), "400"),
    "a bare CR": (request(*GOOD, "X: a\rb"), "400"),
    "a NUL": (request(*GOOD, "X: a\0b"), "400"),
    "a blank before a colon": (request(*GOOD, "X : a"), "400"),
    "a folded line": (request(*GOOD, "X: a\r\n b"), "400"),
    "a line without a colon": (request(*GOOD, "nonsense"), "400"),
    "a foreign origin": (request(*GOOD, "Origin: https://evil.example"), "403"),
    "no origin to speak of": (request(*GOOD, "Origin: null"), "403"),
    "HTTP/1.0": (request(*GOOD, start="GET /chat HTTP/1.0"), "400"),
    "HTTP/2.0": (request(*GOOD, start="GET /chat HTTP/2.0"), "505"),
    "HTTP/2 from its beginning": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"),
    "no version of HTTP": (b"GET /chat\r\n\r\n", "400"),
    "POST": (request(*GOOD, start="POST /chat HTTP/1.1"), "405"),
    "a path that is none": (request(*GOOD, start="GET /%zz HTTP/1.1"), "400"),
    "an unknown path": (request(*GOOD, start="GET /elsewhere HTTP/1.1"), "404"),
    "no path": (request(*GOOD, start="GET chat HTTP/1.1"), "400"),
    "TLS": (bytes.fromhex("16030100c8010000c40303") + b"\x5a" * 200, "400"),
    "letters that are not ASCII": (request(*GOOD, "Sec-WebSocket-Protocol: \xe4"), "400"),
    "nothing but lines": (b"\r\n\r\n\r\n", "400"),
    "bytes": (bytes(range(128, 256)) + b"\r\n\r\n", "400"),
}


@abuse("bad handshakes", *{expected for _, expected in BAD_HANDSHAKES.values()})
def bad_handshakes(target: Target) -> Answers:
    """Handshakes with one error each."""
    total = Answers()
    for _ in range(target.size(10, 1)):
        strangers = []
        for what, (data, expected) in BAD_HANDSHAKES.items():
            stranger = target.connect()
            stranger.send(data)
            strangers.append((stranger, expected, what))
        for stranger, expected, what in strangers:
            total[stated(stranger, expected, f"for {what}")] += 1
    return total


PLAIN: dict[str, tuple[bytes, str]] = {
    "the page": (request(HOST, start="GET / HTTP/1.1"), "200"),
    "a page that is not there": (request(HOST, start="GET /../../etc/passwd HTTP/1.1"), "404"),
    "one behind it": (request(HOST, start="GET /%2e%2e%2f%2e%2e%2fetc/passwd HTTP/1.1"), "404"),
    "a body": (request(HOST, "Content-Length: 65536", start="POST / HTTP/1.1") + b"a" * 65_536, "405"),
    "chunks": (
        request(HOST, "Transfer-Encoding: chunked", start="POST / HTTP/1.1") + b"5\r\naaaaa\r\n",
        "400",
    ),
    "a length in hex": (request(HOST, "Content-Length: 0x10", start="POST / HTTP/1.1"), "400"),
    "many digits": (request(HOST, "Content-Length: " + "9" * 9_000, start="POST / HTTP/1.1"), "400"),
    "DELETE": (request(HOST, start="DELETE / HTTP/1.1"), "405"),
    "BREW": (request(HOST, start="BREW /coffee HTTP/1.1"), "404/405"),
    "TRACE": (request(HOST, start="TRACE / HTTP/1.1"), "405"),
    "CONNECT": (request(HOST, start="CONNECT a:80 HTTP/1.1"), "404/405"),
    "OPTIONS": (request(HOST, start="OPTIONS * HTTP/1.1"), "404/405"),
    "two in a row": (request(HOST, start="GET / HTTP/1.1") * 2, "200"),
    "hundreds in a row": (request(HOST, start="GET / HTTP/1.1") * 2_000, "200"),
    "a range": (request(HOST, "Range: bytes=0-0,1-1,2-2,3-3", start="GET / HTTP/1.1"), "200"),
    "a plain GET of a WebSocket": (request(HOST, start="GET /chat HTTP/1.1"), "426"),
}


@abuse("HTTP abuse", "200", "400", "404", "405", "426")
def http_abuse(target: Target) -> Answers:
    """HTTP features that a chat does not need, and very many requests for the page."""
    total = Answers()
    for what, (data, expected) in PLAIN.items():
        stranger = target.connect()
        stranger.send(data)
        total[stated(stranger, expected, f"for {what}")] += 1
        if stranger.head and b"HTTP/1.1 " in stranger.body:
            total[f"{what}: answered more than once"] += 1
    for _ in range(target.size(2_000, 200)):
        stranger = target.connect()
        stranger.send(PLAIN["the page"][0])
        total[stranger.answer()] += 1
        stranger.sock.close()
    return total


ALL = (slow_handshakes, half_open, huge_headers, bad_handshakes, http_abuse)
