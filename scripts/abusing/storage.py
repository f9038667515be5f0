"""What is kept: a stranger who writes without end fills neither the broker nor the event log."""

from __future__ import annotations

import time
from collections.abc import Callable

import redis

from abusing.abuse import abuse
from abusing.limits import KEY, outcomes
from abusing.stranger import Unanswered
from abusing.target import Answers, Target
from threadchat import Config
from threadchat.server.auth.tokens import sign

MIB = 1 << 20
STORAGE = 16 * MIB
LOG = 4 * MIB
SMALL = ("--max-rooms", "20", "--max-message-size", "100000", "--history-bytes", "128KiB")
"""Twenty rooms at a time, and little of them in memory: what counts here is what is stored."""
TEXT = "x" * 2_000
PAUSE = 0.2  # seconds, after a refusal that is said to be temporary
ROOMS = 150  # as many as all nodes together may have, and some spare


def write(target: Target, rooms: int, stored: Callable[[], int], most: int) -> Answers:
    """A tenth of a megabyte in each room. Raises Unanswered if `stored` exceeds `most`."""
    total = Answers()
    stranger = target.enter()
    for number in range(rooms):
        if stranger.ended:
            stranger = target.enter()
        message = {"type": "message", "room": f"flood {number % ROOMS}", "message": TEXT}
        try:
            answered = outcomes(stranger.ask_all([message] * 50))
        except Unanswered:  # after 64 refusals the connection is closed
            answered = Answers({stranger.answer(): 1})
        if set(answered) != {"ok"}:
            time.sleep(PAUSE)
        total += answered
        if (now := stored()) > most:
            raise Unanswered(f"{now} bytes are stored after {number + 1} rooms, and {most} were allowed")
    newcomer = target.enter("newcomer")
    for command in ("join", "message"):
        if (reply := newcomer.ask(command, room="welcome", message="hello"))["type"] != "ok":
            raise Unanswered(f"a newcomer's {command} was answered with {reply}")
    return total


@abuse(
    "a file filled without end",
    "ok",
    "106",
    "3509",
    flags=("--broker", "sqlite:{log}.db", "--storage-bytes", "16MiB", *SMALL),
)
def file_filled(target: Target) -> Answers:
    """The database stays as it was allowed to be, and so does its write-ahead log."""
    most = STORAGE + 2 * 16 * MIB  # its write-ahead log, and what comes before that is emptied
    total = write(target, target.size(2000, 250), lambda: target.kept(".db"), most)
    if (size := target.log_path.with_name(f"{target.log_path.name}.db").stat().st_size) > STORAGE:
        raise Unanswered(f"the database has {size} bytes")
    return total


@abuse(
    "a Redis filled without end",
    "ok",
    "106",
    "3509",
    flags=("--broker", "{redis}", "--storage-bytes", "16MiB", *SMALL),
    pooled=32,
)
def redis_filled(target: Target) -> Answers:
    """Redis has no more of the chat than it was allowed to have."""
    with redis.Redis.from_url(target.redis) as client:
        before = client.info("memory")["used_memory_dataset"]
        return write(
            target,
            target.size(2000, 250),
            lambda: client.info("memory")["used_memory_dataset"] - before,
            STORAGE * 5 // 4,  # its estimate is no better
        )


@abuse(
    "an event log filled without end",
    "ok",
    flags=("--event-log", "{log}.events", "--event-log-bytes", "1MiB", "--event-log-total", "4MiB", *SMALL),
)
def log_filled(target: Target) -> Answers:
    """All files of the event log together stay within its total."""
    return write(target, target.size(2000, 100), lambda: target.kept(".events"), LOG)


@abuse("rooms created by who may only read", "102", flags=("--token-key", KEY, "--anonymous", "yes"))
def rooms_by_readers(target: Target) -> Answers:
    """Joins and subscribes to rooms that do not exist: none of them exists afterwards."""
    token = sign(Config(token_key=KEY), 7, rooms={"*": "r"})
    total = Answers()
    for _ in range(target.size(20, 2)):
        reader = target.open()
        reader.ask("hello", nickname="reader", token=token)
        total += outcomes(
            reader.ask_all(
                {"type": "subscribe" if number % 2 else "join", "room": f"none {number}"}
                for number in range(60)
            )
        )
    watcher = target.enter()
    listed = watcher.ask("rooms")["rooms"]
    if any(room["name"].startswith("none") for room in listed):
        raise Unanswered(f"there are {len(listed)} rooms now")
    return total


ALL = (file_filled, redis_filled, log_filled, rooms_by_readers)
