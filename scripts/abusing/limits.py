"""Abuses that certain settings prevent: rooms, messages a second, connections, tokens, compression."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable
from typing import Any

import jwt

from abusing.abuse import abuse
from abusing.handshakes import stated
from abusing.stranger import Stranger, Unanswered, text, upgrade
from abusing.target import Answers, Target
from tests.e2e.crowd import PING, TEXT, encode

ELSEWHERE = "127.0.0.9"  # an address of this machine that the healthy pair does not come from


@abuse("flood of rooms", "ok", flags=("--max-rooms", "3000"))
def room_flood(target: Target) -> Answers:
    """One message each to more rooms than the limit allows: empty rooms make room for new ones."""
    stranger = target.enter()
    total = Answers()
    for start in range(0, target.size(20_000, 5_000), 100):
        commands = [
            {"type": "message", "room": f"room {number}", "message": "a"}
            for number in range(start, start + 100)
        ]
        total += outcomes(stranger.ask_all(commands))
    return total


@abuse("more rooms than there may be", "ok", "106", flags=("--max-rooms", "20"))
def too_many_rooms(target: Target) -> Answers:
    """All allowed rooms are in use: no command can create another one until one of them is left."""
    total = Answers()
    for number in range(19):  # and the healthy one; nobody may have more than are left for all others
        stranger = target.enter()
        total += outcomes([stranger.ask("subscribe", room=f"room {number}")])
    kinds = ("message", "join", "subscribe")
    more = [{"type": kind, "room": f"another for {kind}", "message": "a"} for kind in kinds]
    refused = outcomes(stranger.ask_all(more))
    if refused != Answers({"106": 3}):
        raise Unanswered(f"one room too many was answered with {dict(refused)}")
    stranger.ask("unsubscribe", room="room 18")
    return total + refused + outcomes([stranger.ask("join", room="another")])


@abuse("more rooms than one may be in", "ok", "106", flags=("--rooms-per-connection", "20"))
def too_many_memberships(target: Target) -> Answers:
    """Joins and subscribes until the limit is reached."""
    stranger = target.enter()
    total = Answers()
    for number in range(20):
        total[stranger.ask("join" if number % 2 else "subscribe", room=f"seat {number}")["type"]] += 1
    for command in ("join", "subscribe"):
        total[str(stranger.ask(command, room="one too many").get("code"))] += 1
    if total != Answers({"ok": 20, "106": 2}):
        raise Unanswered(f"20 rooms were allowed: {dict(total)}")
    stranger.ask("unsubscribe", room="seat 0")
    total[stranger.ask("subscribe", room="one instead")["type"]] += 1
    return total


def outcomes(replies: Iterable[dict[str, Any]]) -> Answers:
    """Counts the replies to commands: `ok`, or the code of an error."""
    return Answers(str(it.get("code", it["type"])) for it in replies)


@abuse("too many messages a second", "3013", flags=("--message-rate", "200", "--message-burst", "100"))
def message_flood(target: Target) -> Answers:
    """More messages than the rate allows are refused with 111; continuing closes the connection."""
    total = Answers()
    for _ in range(target.size(10, 3)):
        stranger = target.enter()
        stranger.texts.clear()
        stranger.send_reading(text({"type": "message", "room": "rate", "message": "buy", "id": 1}) * 20_000)
        total[stranger.answer()] += 1
        if not any(b'"code":111' in it for it in stranger.texts):
            raise Unanswered("nobody was told to slow down (111) before the end")
    return total


@abuse(
    "too many connections of one address",
    "served",
    "3504",
    "503",
    flags=("--max-connections-per-address", "20"),
)
def crowded_address(target: Target) -> Answers:
    """Twenty connections are served, further ones are refused, and a flood of them is cut off."""
    total = Answers()
    let_in = [target.connect(source=ELSEWHERE) for _ in range(20)]
    for stranger in let_in:
        stranger.upgrade()
        stranger.ask("hello", nickname="mallory")
    for _ in range(target.size(200, 20)):
        stranger = target.connect(source=ELSEWHERE)
        stranger.send(upgrade())
        total[stated(stranger, "3504/503")] += 1
        stranger.sock.close()
    flood = [target.connect(source=ELSEWHERE) for _ in range(target.size(300, 60))]
    for stranger in flood:
        stranger.send(b"GET / HTTP/1.1\r\n")  # and no more
    total["503"] += refused_at_once(target, flood)
    for stranger in let_in:
        total[stranger.served()] += 1
    return total


def refused_at_once(target: Target, flood: list[Stranger]) -> int:
    """How many of these got 503 before they had sent their request; waits for half of them."""

    def refused() -> int:
        for stranger in flood:
            stranger.glance()
        return sum(stranger.status == "503" for stranger in flood)

    target.until(lambda: refused() >= len(flood) // 2, "the flood to be cut off")
    return refused()


@abuse("too many connections", "served", "503", flags=("--max-connections", "20"), newcomers=False)
def crowded_server(target: Target) -> Answers:
    """The healthy pair takes two of the twenty allowed connections."""
    total = Answers()
    let_in = [target.enter() for _ in range(18)]
    for _ in range(target.size(300, 40)):
        stranger = target.connect()
        stranger.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        total[stated(stranger, "503")] += 1
        stranger.sock.close()
    for stranger in let_in:
        total[stranger.served()] += 1
    return total


DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


def squeezed(size: int) -> bytes:
    """A number of blanks, compressed with permessage-deflate (RFC 7692 7.2.1)."""
    press = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (press.compress(b" " * size) + press.flush(zlib.Z_SYNC_FLUSH))[:-4]


BOMBS: dict[str, tuple[bytes, str]] = {
    "64 MiB in 64 KiB": (squeezed(64 << 20), "1009"),
    "one byte too many": (squeezed(512_001), "1009"),
    "nothing that deflate knows": (b"\xff" * 1000, "1007"),
}


@abuse("compression bombs", "1009", "1007", "1002", "served", flags=("--compression", "yes"))
def bombs(target: Target) -> Answers:
    """Little data that expands to much, in one frame and in fragments; and data that is not compressed."""
    total = Answers()
    for _ in range(target.size(20, 3)):
        for what, (data, expected) in BOMBS.items():
            stranger = target.open(more=(DEFLATE,))
            if b"permessage-deflate" not in stranger.head:
                raise Unanswered("the server did not agree to compress")
            stranger.send(bytes((0xC1,)) + encode(TEXT, data)[1:])
            total[stated(stranger, expected, f"for {what}")] += 1
        stranger = target.open(more=(DEFLATE,))
        data = squeezed(64 << 20)
        pieces = [data[at : at + 100] for at in range(0, len(data), 100)]
        stranger.send(bytes((0x41,)) + encode(TEXT, pieces[0])[1:])
        for piece in pieces[1:]:
            stranger.send(bytes((0x00,)) + encode(0, piece)[1:])
        total[stated(stranger, "1009", "for fragments")] += 1
        stranger = target.open(more=(DEFLATE,))
        stranger.send(bytes((0xC0 | PING,)) + encode(PING, b"")[1:])
        total[stated(stranger, "1002", "for a compressed ping")] += 1
        stranger = target.open(more=(f"{DEFLATE}; server_max_window_bits=99; nonsense",))
        stranger.ask("hello", nickname="mallory")
        total[stranger.served()] += 1
    return total


KEY = "a-key-of-forty-characters-that-is-no-secret"
BAD_TOKENS = (
    "",
    "a",
    "a.b.c",
    "..",
    "\0",
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmVk",
    "eyJhbGciOiJSUzI1NiIsImp3ayI6e319.eyJzdWIiOiIxIn0.c2lnbmVk",
    "a" * 400_000,
    "." * 400_000,
    "eyJ" + "W" * 300_000 + ".e30.c2ln",
)


@abuse("tokens that are none", "3500", flags=("--token-key", KEY, "--anonymous", "yes"))
def bad_tokens(target: Target) -> Answers:
    """Tokens that are nonsense, unsigned, signed with another key, for something else, or far too long."""
    total = Answers()
    claims = {"sub": "7", "exp": time.time() + 600}
    other_kind = jwt.encode(claims, KEY, algorithm="HS256", headers={"typ": "logout+jwt"})
    for token in (*BAD_TOKENS, other_kind) * target.size(10, 2):
        stranger = target.open()
        stranger.send(text({"type": "hello", "id": 1, "token": token}))
        total[stated(stranger, "3500", f"for {token[:40]!r}")] += 1
    return total


ALL = (
    room_flood,
    too_many_rooms,
    too_many_memberships,
    message_flood,
    crowded_address,
    crowded_server,
    bombs,
    bad_tokens,
)
