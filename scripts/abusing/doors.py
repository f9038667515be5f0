"""What comes before anybody is known, or is never finished: bodies, names, keys, half messages."""

from __future__ import annotations

from abusing.abuse import abuse
from abusing.handshakes import HASTY, request, stated
from abusing.stranger import text, upgrade
from abusing.target import Answers, Target, answers
from tests.e2e.crowd import PING, TEXT, encode

KEY = "a-key-that-nobody-guesses"
LARGE = 16 << 20
ROOMY = ("--api-key", KEY, "--max-message-size", str(LARGE), "--history-bytes", str(LARGE))


@abuse("large bodies without a key", "401", "404", "405", flags=ROOMY)
def large_bodies(target: Target) -> Answers:
    """Megabytes for paths, methods and keys that are none: what is refused by its head is not received."""
    json, length = "Content-Type: application/json", f"Content-Length: {LARGE}"
    wrong = (
        ("POST /api/publish HTTP/1.1", "X-API-Key: guess", "401"),
        ("POST /api/publish HTTP/1.1", "X-Nothing: 1", "401"),
        ("POST /nothing HTTP/1.1", f"X-API-Key: {KEY}", "404"),
        ("PUT /api/publish HTTP/1.1", f"X-API-Key: {KEY}", "405"),
    )
    total = Answers()
    for _ in range(target.size(8, 2)):
        sent = []
        for start, key, expected in wrong:
            stranger = target.connect()
            stranger.send(
                request("Host: 127.0.0.1", json, length, key, start=start)
                + b"a" * target.size(4 << 20, 1 << 20)
            )
            sent.append((stranger, expected))
        for stranger, expected in sent:
            total[stated(stranger, expected)] += 1
    return total


@abuse("wrong keys", "401", flags=ROOMY)
def wrong_keys(target: Target) -> Answers:
    """More than one address may have at once: those above are answered later, and nobody else is."""
    strangers = [target.connect() for _ in range(target.size(300, 90))]
    for number, stranger in enumerate(strangers):
        key = f"X-API-Key: guess {number}"
        stranger.send(request("Host: 127.0.0.1", key, start="POST /api/publish HTTP/1.1"))
    return answers(strangers)


@abuse("names that are not the server's", "403")
def foreign_hosts(target: Target) -> Answers:
    """Pages whose own names were pointed at this machine: of the same origin, as far as browsers can tell."""
    strangers = []
    for number in range(target.size(300, 30)):
        host = f"host-{number}.example:{target.port}"
        asked = upgrade("/chat", f"Origin: http://{host}").replace(
            b"Host: 127.0.0.1", f"Host: {host}".encode()
        )
        plain = request(f"Host: {host}", start="GET / HTTP/1.1")
        for data in (asked, plain):
            strangers.append(target.connect())
            strangers[-1].send(data)
    return answers(strangers)


HALF_KEPT = ("--message-timeout", "3", "--unfinished-bytes", "4MiB")


@abuse("messages without an end", "reset", "end", flags=(*HASTY, *HALF_KEPT))
def half_messages(target: Target) -> Answers:
    """Fragments that nothing follows but pings: the largest go where all are too much, the rest in time."""
    strangers = [target.enter() for _ in range(target.size(150, 40))]
    half = bytes((TEXT,)) + encode(TEXT, b"a" * 500_000)[1:]
    for stranger in strangers:
        stranger.send(half + encode(PING, b"alive"))
    return answers(strangers)


@abuse("messages that come slowly", "served", flags=HALF_KEPT)
def slow_messages(target: Target) -> Answers:
    """Who sends on, however slowly, is served."""
    strangers = [target.enter() for _ in range(target.size(50, 10))]
    whole = text({"type": "message", "room": "slow", "message": "a" * 5_000})
    for at in range(0, len(whole), 100):
        for stranger in strangers:
            stranger.send(whole[at : at + 100])
    return Answers(stranger.served() for stranger in strangers)


ALL = (large_bodies, wrong_keys, foreign_hosts, half_messages, slow_messages)
