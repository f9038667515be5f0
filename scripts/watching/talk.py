"""Two healthy people in a room who send messages in turns and check that both receive them; a program.

It runs in a process of its own, so that it measures the server and not the program that abuses it. A word on
each line of its standard input says what to do, and is answered with a report, which is one line of JSON:
`talk` on or `hush`, and begin a new report; send newcomers (`welcome`), or, after at least one, no more
(`enough`). The program ends with its input.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from threadchat.errors import ThreadchatError
from threadchat.testing.peer import Peer

PAUSE = 0.01  # seconds between two messages: often enough to notice every stall, with little load
VISIT_PAUSE = 0.2  # seconds between two newcomers
PATIENCE = 90.0  # seconds until a message counts as lost
NEWCOMER = "127.0.0.7"  # an address that nobody else comes from

NEWCOMERS = "newcomers"  # their room
_OTHERS = ("live", "direct")  # other frames that may arrive: the end of a replay, and messages of strangers


class Talk:
    """The two people, their messages, and the time until both have received each. Used on one thread.

    With `newcomers`, somebody also waits in another room for newcomers.
    """

    def __init__(self, url: str, room: str, *, newcomers: bool = False) -> None:
        self._url = url
        self._room = room
        self._people: list[Peer] = []
        self._last: list[int] = []  # the id of the last event that each has received
        self._said = 0
        self._rounds: list[float] = []  # the seconds of each message since `begin`
        self._visits: list[float] = []  # the seconds of each newcomer since `begin`
        self._faults: list[str] = []
        for name in ("ann", "bob"):
            peer = Peer(url, timeout=PATIENCE)
            peer.ask("hello", nickname=name)
            self._last.append(int(peer.ask("subscribe", room=room)["offset"]))
            self._people.append(peer)
        self._host = self._newcomer() if newcomers else None

    def begin(self) -> None:
        """Clears the times, but not the faults."""
        self._rounds, self._visits = [], []

    def report(self) -> dict[str, Any]:
        """The times since `begin`, in seconds, and all faults."""
        times = sorted(self._rounds)
        return {
            "rounds": len(times),
            "worst": max(times, default=0.0),
            "p99": times[min(len(times) - 1, len(times) * 99 // 100)] if times else 0.0,
            "newcomers": len(self._visits),
            "slowest": max(self._visits, default=0.0),
            "faults": self._faults,
        }

    def round(self) -> None:
        """Sends a message and returns when both have received it. Does nothing after a fault."""
        if self._faults:
            return
        speaker = self._people[self._said % 2]
        message = f"word {self._said}"
        started = time.perf_counter()
        try:
            speaker.send({"type": "message", "room": self._room, "message": message})
            for listener in (0, 1):
                self._hear(listener, message)
        except (OSError, ValueError, ThreadchatError) as error:
            self._faults.append(f"{message}: {type(error).__name__}: {error}")
        self._rounds.append(time.perf_counter() - started)
        self._said += 1

    def visit(self) -> None:
        """A newcomer connects, joins and says something, which their host hears. Nothing after a fault."""
        if self._faults or self._host is None:
            return
        message = f"visit {len(self._visits)}"
        started = time.perf_counter()
        try:
            with self._newcomer() as newcomer:
                newcomer.ask("message", room=NEWCOMERS, message=message)
                while self._host.next().get("message") != message:
                    pass
                self._visits.append(time.perf_counter() - started)
        except (OSError, ValueError, ThreadchatError) as error:
            self._faults.append(f"a newcomer, {message}: {type(error).__name__}: {error}")

    def close(self) -> None:
        """Closes all connections."""
        for person in (*self._people, self._host):
            if person is not None:
                person.close()

    def _newcomer(self) -> Peer:
        parts = urlsplit(self._url)
        address = parts.hostname or "", parts.port or 80
        sock = socket.create_connection(address, PATIENCE, (NEWCOMER, 0))
        peer = Peer(self._url, sock=sock, timeout=PATIENCE)
        peer.ask("hello", nickname="newcomer")
        peer.ask("join", room=NEWCOMERS)
        return peer

    def _hear(self, listener: int, message: str) -> None:
        while (event := self._people[listener].next())["type"] in _OTHERS:
            pass
        self._last[listener] += 1
        if (event.get("id"), event.get("message")) != (self._last[listener], message):
            raise ValueError(f"got {event}, expected {message!r} with the id {self._last[listener]}")


def answer_questions(talk: Talk, questions: int, answers: int) -> None:
    """Talks, and answers the lines from the descriptor `questions`, until it ends."""
    pause: float | None = PAUSE
    due: float | None = None  # when the next newcomer comes
    while True:
        readable, _, _ = select.select([questions], [], [], pause)
        if not readable:
            talk.round()
            if due is not None and time.monotonic() >= due:
                talk.visit()
                due = time.monotonic() + VISIT_PAUSE
            continue
        asked = os.read(questions, 64).strip()  # a whole line, because the other side waits for the answer
        if not asked:
            return
        talk.round()  # so that the report covers at least one message
        if asked == b"welcome":
            due = 0.0
        elif asked == b"enough":
            talk.visit()  # so that it covers at least one newcomer, too
            due = None
        os.write(answers, json.dumps(talk.report()).encode() + b"\n")
        if asked in (b"talk", b"hush"):
            talk.begin()
            pause, due = None if asked == b"hush" else PAUSE, None


def main(argv: Sequence[str] | None = None) -> int:
    """Talks until standard input ends."""
    parser = argparse.ArgumentParser(prog="watching.talk", description=__doc__)
    parser.add_argument("url", help="ws://host:port/chat")
    parser.add_argument("room")
    parser.add_argument("--newcomers", action="store_true", help="somebody waits for newcomers, too")
    given = parser.parse_args(argv)
    talk = Talk(given.url, given.room, newcomers=given.newcomers)
    answer_questions(talk, sys.stdin.fileno(), sys.stdout.fileno())
    talk.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
