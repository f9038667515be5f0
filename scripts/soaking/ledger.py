"""What has to be true: each room's events as people saw them, what was acknowledged, who was written to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

Frame = dict[str, Any]

MOST_FAULTS = 20
"""Faults that are told in full; more of them say nothing new."""


class Log(NamedTuple):
    """One life of a room: a room that was forgotten begins another one, under another epoch."""

    room: str
    epoch: str


class Fact(NamedTuple):
    """What everybody has to see in one place of a log."""

    type: str
    user: int | None
    text: str


class Fault(NamedTuple):
    """Something that must not be, who saw it, and what they had done last."""

    who: str
    what: str
    deeds: list[str]


class Post(NamedTuple):
    """A private message on its way."""

    sender: int
    to: int


class Ledger:
    """The truth as far as anybody has seen it. For one thread."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.faults_in_all = 0
        self.counts: Counter[str] = Counter()
        self.logs: dict[Log, dict[int, Fact]] = {}
        self._places: dict[tuple[Log, str], int] = {}  # where each text is
        self._acked: dict[Log, dict[str, int]] = {}
        self._skipped: list[
            tuple[str, Log, int, int]
        ] = []  # what a filter may have held back, to be looked at
        self._posts: dict[str, Post] = {}
        self.resent: set[str] = (
            set()
        )  # after a loss: the connection that was lost may still have a word to say

    def fault(self, who: str, what: str, deeds: Iterable[str] = ()) -> None:
        """Notes that something is wrong."""
        self.faults_in_all += 1
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(Fault(who, what, list(deeds)))

    # Rooms

    def saw(self, who: str, log: Log, event: Frame) -> None:
        """Somebody got an event: it is the same for all, and no text is in two places."""
        fact = Fact(event["type"], event.get("userId"), event.get("message") or event.get("sessionId", ""))
        number = event["id"]
        if event.get("deleted"):  # its text was, if somebody saw that, what it was
            seen = self.logs.get(log, {}).get(number, fact)
            if (seen.type, seen.user) != (fact.type, fact.user):
                self.fault(who, f"event {number} of {log.room} is deleted: {fact}, and was {seen}")
            return
        known = self.logs.setdefault(log, {}).setdefault(number, fact)
        if known != fact:
            self.fault(who, f"event {number} of {log.room} is {fact} here and {known} elsewhere")
        if fact.type == "message":
            place = self._places.setdefault((log, fact.text), number)
            if place != number:
                self.fault(who, f"{fact.text!r:.40} is in {log.room} twice, as {place} and as {number}")

    def acknowledged(self, who: str, log: Log, text: str, offset: int) -> None:
        """The server says where a text is, and stays with it."""
        self.counts["messages acknowledged"] += 1
        known = self._acked.setdefault(log, {}).setdefault(text, offset)
        if known != offset:
            self.fault(who, f"{text!r:.40} is acknowledged as {known} and as {offset} of {log.room}")

    def skipped(self, who: str, log: Log, after: int, before: int) -> None:
        """A listener that wants nothing but messages got none between two places."""
        if before - after > 1:
            self._skipped.append((who, log, after, before))

    def settle(self) -> None:
        """Compares what was seen with what was said and acknowledged; at a quiet point.

        What was compared is let go of.
        """
        for log, acked in self._acked.items():
            facts = self.logs.get(log, {})
            offsets = Counter(acked.values())
            for text, offset in acked.items():
                fact = facts.get(offset)
                if fact is not None and (fact.type, fact.text) != ("message", text):
                    self.fault("everybody", f"{text!r:.40} is acknowledged as {offset} of {log.room}: {fact}")
                if offsets[offset] > 1:
                    self.fault("everybody", f"offset {offset} of {log.room} was given to two messages")
                self.counts["acknowledged and seen"] += fact is not None
        for who, log, after, before in self._skipped:
            facts = self.logs.get(log, {})
            for number in range(after + 1, before):
                if number in facts and facts[number].type == "message":
                    self.fault(
                        who, f"message {number} of {log.room} did not come between {after} and {before}"
                    )
        for log, facts in self.logs.items():
            self._check_order(log, facts)
        self._acked.clear()
        self._skipped.clear()
        self._places.clear()
        self.logs.clear()
        self._posts.clear()

    def _check_order(self, log: Log, facts: dict[int, Fact]) -> None:
        """What one connection said stands in the order in which it was said."""
        last: dict[str, int] = {}
        for number in sorted(facts):
            fact = facts[number]
            if fact.type == "message" and fact.text not in self.resent:
                speaker, _, serial = fact.text.split(" ", 1)[0].rpartition(".")
                if last.get(speaker, -1) >= int(serial):
                    self.fault(speaker, f"{fact.text!r:.40} of {log.room} comes after a later one")
                last[speaker] = int(serial)

    # Private messages

    def post(self, nonce: str, sender: int, to: int) -> None:
        """Somebody writes to somebody."""
        self._posts[nonce] = Post(sender, to)

    def delivered(self, who: str, user: int, nonce: str, frame: Frame) -> None:
        """Somebody got a private message: theirs."""
        self.counts["private messages delivered"] += 1
        if frame["to"] != user:
            self.fault(who, f"user {user} got what was for user {frame['to']}")
        post = self._posts.get(nonce)
        if post is None:
            self.fault(who, f"nobody wrote {frame['message']!r:.40}")
        elif post != (frame["from"], frame["to"]):
            self.fault(who, f"{frame!r:.120} was written as {post}")
