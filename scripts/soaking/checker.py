"""Checks what people receive: all see the same events of a room, and replies and private messages fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

Frame = dict[str, Any]

MOST_FAULTS = 20
"""Faults that are reported in full; further ones are only counted."""


class Log(NamedTuple):
    """One log of a room: a room that was removed and created again has another log, with another epoch."""

    room: str
    epoch: str


class Fact(NamedTuple):
    """What everybody must receive at one offset of a log."""

    type: str
    user: int | None
    text: str


class Fault(NamedTuple):
    """Something that must not happen, who noticed it, and their last actions."""

    who: str
    what: str
    actions: list[str]


class PrivateMessage(NamedTuple):
    """A private message that was sent."""

    sender: int
    to: int


class Checker:
    """Records what all people received, and compares it. Used on one thread."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.faults_in_all = 0
        self.counts: Counter[str] = Counter()
        self.logs: dict[Log, dict[int, Fact]] = {}
        self._positions: dict[tuple[Log, str], int] = {}  # where each text is
        self._acked: dict[Log, dict[str, int]] = {}
        self._skipped: list[
            tuple[str, Log, int, int]
        ] = []  # what a filter may have held back, to be looked at
        self._posts: dict[str, PrivateMessage] = {}
        self.resent: set[str] = (
            set()
        )  # after a loss: the connection that was lost may still have a word to say

    def fault(self, who: str, what: str, actions: Iterable[str] = ()) -> None:
        """Notes that something is wrong."""
        self.faults_in_all += 1
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(Fault(who, what, list(actions)))

    # Rooms

    def saw(self, who: str, log: Log, event: Frame) -> None:
        """Records a received event: it must be the same for all, and no text may have two offsets."""
        fact = Fact(event["type"], event.get("userId"), event.get("message") or event.get("sessionId", ""))
        number = event["id"]
        if event.get("deleted"):  # its text is gone, so compare only the type and the user
            seen = self.logs.get(log, {}).get(number, fact)
            if (seen.type, seen.user) != (fact.type, fact.user):
                self.fault(who, f"event {number} of {log.room} is deleted: {fact}, and was {seen}")
            return
        known = self.logs.setdefault(log, {}).setdefault(number, fact)
        if known != fact:
            self.fault(who, f"event {number} of {log.room} is {fact} here and {known} elsewhere")
        if fact.type == "message":
            position = self._positions.setdefault((log, fact.text), number)
            if position != number:
                self.fault(who, f"{fact.text!r:.40} is in {log.room} twice, as {position} and as {number}")

    def acknowledged(self, who: str, log: Log, text: str, offset: int) -> None:
        """Records the offset that the server acknowledged for a text; it must always be the same."""
        self.counts["messages acknowledged"] += 1
        known = self._acked.setdefault(log, {}).setdefault(text, offset)
        if known != offset:
            self.fault(who, f"{text!r:.40} is acknowledged as {known} and as {offset} of {log.room}")

    def skipped(self, who: str, log: Log, after: int, before: int) -> None:
        """Records that a listener with a filter for messages received none between two offsets."""
        if before - after > 1:
            self._skipped.append((who, log, after, before))

    def settle(self) -> None:
        """Compares received events with acknowledgements, at a quiet point; then forgets them all."""
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
        self._positions.clear()
        self.logs.clear()
        self._posts.clear()

    def _check_order(self, log: Log, facts: dict[int, Fact]) -> None:
        """Checks that the messages of one connection are in the order in which they were sent."""
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
        """Records a private message that was sent."""
        self._posts[nonce] = PrivateMessage(sender, to)

    def delivered(self, who: str, user: int, nonce: str, frame: Frame) -> None:
        """Checks a private message that was received."""
        self.counts["private messages delivered"] += 1
        if frame["to"] != user:
            self.fault(who, f"user {user} got what was for user {frame['to']}")
        post = self._posts.get(nonce)
        if post is None:
            self.fault(who, f"nobody wrote {frame['message']!r:.40}")
        elif post != (frame["from"], frame["to"]):
            self.fault(who, f"{frame!r:.120} was written as {post}")
