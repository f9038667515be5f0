"""Connections that end badly, that stay open after a Close, and that are opened again and again."""

from __future__ import annotations

from abusing.abuse import abuse
from abusing.broken_frames import part
from abusing.handshakes import stated
from abusing.stranger import Stranger, Unanswered, text, upgrade
from abusing.target import Answers, Target
from tests.e2e.crowd import CLOSE, TEXT, encode

GOODBYE = encode(CLOSE, (1000).to_bytes(2, "big"))


@abuse("resets in the middle", "gone")
def resets(target: Target) -> Answers:
    """In a request, a header, a frame, a message or a burst; also while an answer is being sent."""
    before = target.held()
    whole = text({"type": "message", "room": "resets", "id": 1, "message": "a" * 1000})
    halves = (
        upgrade()[:70],
        upgrade(),
        upgrade() + b"\x81",
        upgrade() + whole[:4],
        upgrade() + whole[:500],
        upgrade() + part(TEXT, b"a" * 1000),
        upgrade()
        + text({"type": "hello", "nickname": "a"})
        + text({"type": "join", "room": "resets"})
        + whole * 20,
        upgrade() + GOODBYE,
    )
    count = target.size(200, 80)
    for number in range(count):
        stranger = target.connect()
        stranger.send(halves[number % len(halves)])
        if number % 3:
            stranger.glance()
        stranger.reset()
    target.lets_go(before)
    return Answers(gone=count)


@abuse("half-closed connections", "400", "200", "1000", "1005", "1002", "reset", "end")
def half_closes(target: Target) -> Answers:
    """Half-closes in a request, after one, and in a chat, with and without a Close."""
    before = target.held()
    page = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    total = Answers()
    for _ in range(target.size(25, 5)):
        cases: list[tuple[Stranger, bytes, tuple[str, ...]]] = [
            (target.connect(), b"", ("end", "reset")),
            (target.connect(), page[:20], ("400",)),
            (target.connect(), page, ("200",)),
            (target.open(), b"", ("end", "reset")),
            (target.enter(), b"\x81", ("end", "reset")),
            (target.enter(), part(TEXT, b"hi"), ("end", "reset")),
            (target.enter(), GOODBYE, ("1000",)),
            (target.enter(), encode(CLOSE, b""), ("1005",)),
            (target.enter(), b"\x83\x80\x00\x00\x00\x00", ("1002",)),
        ]
        for stranger, data, _expected in cases:
            stranger.send(data)
            stranger.finish()
        for stranger, data, expected in cases:
            answer = stranger.answer()
            right = answer in expected
            total[
                answer if right else f"{answer} instead of {' or '.join(expected)} after {data[:20]!r}"
            ] += 1
    target.lets_go(before)  # although nobody here has closed a socket
    return total


@abuse("a Close, and TCP stays open", "1000", "1002", "3509")
def lingering(target: Target) -> Answers:
    """The peer sends or answers a Close, or does neither, and keeps its socket open; the server must not."""
    before = target.held()
    count = target.size(20, 4)
    strangers: list[tuple[Stranger, str]] = []
    for _ in range(count):
        polite = target.enter()
        polite.send(GOODBYE)
        strangers.append((polite, "1000"))
        answering = target.enter()
        answering.send(b"\x83\x80\x00\x00\x00\x00" + encode(CLOSE, (1002).to_bytes(2, "big")))
        strangers.append((answering, "1002"))
        mute = target.enter()
        mute.send(b"\x83\x80\x00\x00\x00\x00")
        strangers.append((mute, "1002"))
        talking = target.enter()
        talking.send(text("nonsense") * 64)
        strangers.append((talking, "3509"))
        deaf = target.enter(receive_buffer=4096)
        deaf.send(text("nonsense") * 64 + b"\x00" * 300_000)
        strangers.append((deaf, ""))
    target.lets_go(before)
    total = Answers()
    for stranger, expected in strangers:
        if expected:
            total[stated(stranger, expected)] += 1
    return total


@abuse("reconnect storm", "served", "reset", "end", "1000")
def reconnect_storm(target: Target) -> Answers:
    """Connects, joins a room and disconnects in different ways, again and again."""
    total = Answers()
    before = target.held()
    for number in range(target.size(500, 150)):
        stranger = target.enter(f"guest {number}")
        stranger.send(text({"type": "join", "room": "storm", "id": 1}))
        way = number % 4
        if way == 0:
            total[stranger.served()] += 1
            stranger.reset()
        elif way == 1:
            stranger.send(GOODBYE)
            total[stated(stranger, "1000")] += 1
            stranger.sock.close()
        elif way == 2:
            stranger.finish()
            total[stranger.answer()] += 1
            stranger.sock.close()
        else:
            stranger.sock.close()
    target.lets_go(before)
    late = target.enter()
    people = late.ask("who", room="storm").get("users", [])
    if people:
        raise Unanswered(f"{len(people)} people are in the room although nobody is connected")
    return total


@abuse("join and leave flood", "served", "3010")
def join_flood(target: Target) -> Answers:
    """Joins and leaves one room, while others read slowly (3010: too slow), and then many rooms."""
    watchers = [target.enter() for _ in range(5)]
    for watcher in watchers:
        watcher.ask("join", room="door")
    total = Answers()
    rounds = target.size(2_000, 300)
    stranger = target.enter()
    door = text({"type": "join", "room": "door"}) + text({"type": "leave", "room": "door"})
    stranger.pump(door * rounds)
    total[stranger.served()] += 1
    for watcher in watchers:
        total[watcher.served()] += 1
    stranger = target.enter()
    stranger.pump(
        b"".join(
            text({"type": kind, "room": f"door {number % 50}"})
            for number in range(rounds)
            for kind in ("subscribe", "unsubscribe")
        )
    )
    total[stranger.served()] += 1
    return total


ALL = (resets, half_closes, lingering, reconnect_storm, join_flood)
