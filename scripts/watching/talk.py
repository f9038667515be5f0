"""Two healthy people in a room who send messages in turns and check that both receive them; a program.

It runs in a process of its own, so that it measures the server and not the program that abuses it. Each line
on its standard input asks for a report, which is one line of JSON, and says whether to `talk` on or to
`hush`. The program ends with its input.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
import time
from collections.abc import Sequence
from typing import Any

from threadchat.errors import ThreadchatError
from threadchat.testing.peer import Peer

PAUSE = 0.01  # seconds between two messages: often enough to notice every stall, with little load
PATIENCE = 90.0  # seconds until a message counts as lost

_OTHERS = ("live", "direct")  # other frames that may arrive: the end of a replay, and messages of strangers


class Talk:
    """The two people, their messages, and the time until both have received each. Used on one thread."""

    def __init__(self, url: str, room: str) -> None:
        self._room = room
        self._people: list[Peer] = []
        self._last: list[int] = []  # the id of the last event that each has received
        self._said = 0
        self._rounds: list[float] = []  # the seconds of each message since `begin`
        self._faults: list[str] = []
        for name in ("ann", "bob"):
            peer = Peer(url, timeout=PATIENCE)
            peer.ask("hello", nickname=name)
            self._last.append(int(peer.ask("subscribe", room=room)["offset"]))
            self._people.append(peer)

    def begin(self) -> None:
        """Clears the times, but not the faults."""
        self._rounds = []

    def report(self) -> dict[str, Any]:
        """The times since `begin`, in seconds, and all faults."""
        times = sorted(self._rounds)
        last = times[-1] if times else 0.0
        p99 = times[min(len(times) - 1, len(times) * 99 // 100)] if times else 0.0
        return {"rounds": len(times), "worst": last, "p99": p99, "faults": self._faults}

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

    def close(self) -> None:
        """Closes both connections."""
        for person in self._people:
            person.close()

    def _hear(self, listener: int, message: str) -> None:
        while (event := self._people[listener].next())["type"] in _OTHERS:
            pass
        self._last[listener] += 1
        if (event.get("id"), event.get("message")) != (self._last[listener], message):
            raise ValueError(f"got {event}, expected {message!r} with the id {self._last[listener]}")


def answer_questions(talk: Talk, questions: int, answers: int) -> None:
    """Talks, and answers the lines from the descriptor `questions`, until it ends."""
    pause: float | None = PAUSE
    while True:
        readable, _, _ = select.select([questions], [], [], pause)
        if not readable:
            talk.round()
            continue
        asked = os.read(questions, 64)  # a whole line, because the other side waits for the answer
        if not asked:
            return
        talk.round()  # so that the report covers at least one message
        os.write(answers, json.dumps(talk.report()).encode() + b"\n")
        talk.begin()
        pause = None if asked == b"hush\n" else PAUSE


def main(argv: Sequence[str] | None = None) -> int:
    """Talks until standard input ends."""
    parser = argparse.ArgumentParser(prog="watching.talk", description=__doc__)
    parser.add_argument("url", help="ws://host:port/chat")
    parser.add_argument("room")
    given = parser.parse_args(argv)
    talk = Talk(given.url, given.room)
    answer_questions(talk, sys.stdin.fileno(), sys.stdout.fileno())
    talk.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
