"""Abuses by many connections of one address: each is within its own limits, all together are not."""

from __future__ import annotations

import time
from typing import Any

from abusing.abuse import abuse
from abusing.limits import ELSEWHERE, outcomes
from abusing.stranger import Stranger, Unanswered, text
from abusing.target import Answers, Target

NEWCOMER = "127.0.0.8"  # an address that nobody else here comes from


def welcome(target: Target) -> None:
    """A newcomer opens a room and talks there. Raises Unanswered if anything is refused."""
    newcomer = target.enter("newcomer", source=NEWCOMER)
    room = f"newcomers {time.monotonic()}"
    for command, fields in (("join", {}), ("message", {"message": "hi"}), ("history", {})):
        reply = newcomer.ask(command, room=room, **fields)
        if reply["type"] != "ok":
            raise Unanswered(f"a newcomer's {command} was answered with {reply}")


def strangers(target: Target, count: int) -> list[Stranger]:
    """Connections of one address."""
    return [target.enter(source=ELSEWHERE) for _ in range(count)]


def subscribe(rooms: list[str]) -> list[dict[str, Any]]:
    """The commands for it."""
    return [{"type": "subscribe", "room": room} for room in rooms]


@abuse("all rooms, by one address", "ok", "106")
def all_rooms(target: Target) -> Answers:
    """Many connections, each in 50 rooms; one that is refused too often is closed, and another one comes."""
    total = Answers()
    for number in range(30):
        stranger = target.enter(source=ELSEWHERE)
        total += outcomes(stranger.ask_all(subscribe([f"all {number}-{i}" for i in range(50)])))
        welcome(target)
    if total["ok"] != 1000:
        raise Unanswered(f"{total['ok']} rooms were created from one address")
    return total


@abuse(
    "all rooms, by an address within production limits",
    "ok",
    "106",
    flags=("--max-connections-per-address", "50", "--message-rate", "20"),
)
def all_rooms_in_parts(target: Target) -> Answers:
    """33 connections would be in 95 rooms each, which they ask for in one second."""
    total = Answers()
    for number, stranger in enumerate(strangers(target, 33)):
        total += outcomes(stranger.ask_all(subscribe([f"part {number}-{i}" for i in range(60)])))
    welcome(target)
    if total["ok"] > 1000:
        raise Unanswered(f"{total['ok']} rooms were created from one address")
    return total


# These two limits are a tenth of the defaults, so that they are reached on a busy machine, too.
@abuse("messages of many connections", "ok", "111", flags=("--message-rate-per-address", "200"))
def messages(target: Target) -> Answers:
    """Twenty connections each send 500 without a pause; of all of them, 3,200 are taken at once."""
    total = Answers()
    flood = [{"type": "message", "room": "flood", "message": "buy"}] * 500
    for stranger in strangers(target, 20):
        total += outcomes(stranger.ask_all(flood))
        welcome(target)
    if not total["111"]:
        raise Unanswered("nobody was told to slow down (111)")
    return total


@abuse("bytes of many connections", "ok", "111", flags=("--byte-rate-per-address", "200000"))
def bytes_of_many(target: Target) -> Answers:
    """Ten connections each send large messages; of all of it, 3 MiB are taken at once."""
    total = Answers()
    large = "x" * 400_000
    for stranger in strangers(target, target.size(20, 12)):
        for _ in range(10):
            total += outcomes([stranger.ask("message", room="large", message=large)])
        welcome(target)
    if not total["111"]:
        raise Unanswered("nobody was told to slow down (111)")
    return total


@abuse("questions of many connections", "ok", "111", flags=("--query-time-per-address", "10"))
def questions(target: Target) -> Answers:
    """All ask for as much as one reply may hold, again and again, until the time for it is used up."""
    crowd = strangers(target, 10)
    said = [{"type": "message", "room": "large", "message": "x" * 400}] * 1000
    total = outcomes(crowd[0].ask_all(said))
    ask = [
        {"type": "history", "room": "large", "limit": 1000},
        {"type": "count", "room": "large", "users": list(range(100)), "types": ["message"]},
    ]
    for _ in range(1000):
        for stranger in crowd:
            answers = outcomes(stranger.ask_all(ask * 10))
            total += answers
            if answers["111"]:
                welcome(target)
                return total
    raise Unanswered("questions were answered for ever")


@abuse("joins that push messages out of a log", "ok")
def joins(target: Target) -> Answers:
    """One stranger comes and goes more often than the log has places."""
    stranger = target.enter(source=ELSEWHERE)
    said = [{"type": "message", "room": "precious", "message": str(number)} for number in range(500)]
    total = outcomes(stranger.ask_all(said))
    visit = [{"type": "join", "room": "precious"}, {"type": "leave", "room": "precious"}]
    for _ in range(target.size(100, 12)):
        total += outcomes(stranger.ask_all(visit * 50))
    left = stranger.ask("count", room="precious", types=["message"])["count"]
    if left != 500:
        raise Unanswered(f"of 500 messages {left} are left")
    welcome(target)
    return total


@abuse("catch-ups of many connections", "ok", flags=("--catch-ups-per-address", "10"))
def catch_ups(target: Target) -> Answers:
    """Many connections ask for all of a room's log, and read little of it."""
    crowd = [target.enter(source=ELSEWHERE, receive_buffer=4096) for _ in range(target.size(200, 40))]
    said = [{"type": "message", "room": "long", "message": "x" * 300}] * 1000
    total = outcomes(crowd[0].ask_all(said))
    epoch = crowd[0].ask("history", room="long", limit=1)["epoch"]
    before = target.held().threads
    for stranger in crowd:
        stranger.send(text({"type": "subscribe", "room": "long", "since": {"offset": 0, "epoch": epoch}}))
    welcome(target)
    more = target.held().threads - before
    if more > 20:
        raise Unanswered(f"{more} more threads, for a newcomer and {len(crowd)} who catch up")
    return total


ALL = (all_rooms, all_rooms_in_parts, messages, bytes_of_many, questions, joins, catch_ups)
