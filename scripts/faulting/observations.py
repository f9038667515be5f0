"""What all people saw and were promised, and whether it adds up."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Any, NamedTuple

from soaking.checker import MOST_FAULTS, Checker, Fact, Log

Frame = Mapping[str, Any]


class Promise(NamedTuple):
    """A message that was acknowledged, and when it was sent and acknowledged, by time.monotonic."""

    who: str
    room: str
    text: str
    offset: int
    sent: float
    acknowledged: float


class Letter(NamedTuple):
    """A direct message that was acknowledged, and when."""

    who: str
    to: str
    text: str
    sent: float
    acknowledged: float


class TellingChecker(Checker):
    """Tells the first faults as soon as they are found."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self.tell = tell

    def fault(self, who: str, what: str, actions: Iterable[str] = ()) -> None:
        """Notes that something is wrong."""
        super().fault(who, what, actions)
        if self.faults_in_all <= MOST_FAULTS:
            self.tell(f"FAULT: {who}: {what}")


class Observations:
    """Compares at once what people see; the promises are compared with the logs at quiet points.

    `_lock` guards everything. The methods may be called from any thread.
    """

    def __init__(self, tell: Callable[[str], None] = lambda what: None) -> None:
        """`tell` is called with the first faults, as soon as they are found."""
        self._lock = threading.Lock()
        self._checker = TellingChecker(tell)
        self._promises: list[Promise] = []
        self._letters: list[Letter] = []
        self._received: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._told_of_missing: dict[str, float] = {}  # when, by time.monotonic
        self._epochs: defaultdict[str, list[str]] = defaultdict(list)
        self.counts: Counter[str] = Counter()

    @property
    def faults(self) -> list[str]:
        """What was wrong, up to some number of faults."""
        with self._lock:
            return [f"{fault.who}: {fault.what}" for fault in self._checker.faults]

    @property
    def faults_in_all(self) -> int:
        """How many things were wrong."""
        return self._checker.faults_in_all

    def fault(self, who: str, what: str) -> None:
        """Notes that something is wrong."""
        with self._lock:
            self._checker.fault(who, what)

    def tell(self, what: str) -> None:
        """Says something that helps to explain a fault."""
        self._checker.tell(what)

    # For people

    def saw(self, who: str, room: str, epoch: str, event: Frame) -> None:
        """Somebody received an event: in one epoch it must be the same for all."""
        with self._lock:
            self.counts["events checked"] += 1
            self._checker.saw(who, Log(room, epoch), dict(event))

    def entered(self, room: str, epoch: str) -> None:
        """Somebody was told the epoch of a room."""
        with self._lock:
            if epoch not in self._epochs[room]:
                self._epochs[room].append(epoch)

    def promised(self, promise: Promise) -> None:
        """A message was acknowledged."""
        with self._lock:
            self.counts["messages acknowledged"] += 1
            self._promises.append(promise)

    def posted(self, letter: Letter) -> None:
        """A direct message was acknowledged."""
        with self._lock:
            self.counts["direct messages acknowledged"] += 1
            self._letters.append(letter)

    def received(self, who: str, text: str) -> None:
        """Somebody received a direct message."""
        with self._lock:
            self._received[who][text] += 1

    def told_of_missing(self, who: str) -> None:
        """Somebody was told that the inbox is another one, so that what had come meanwhile did not arrive."""
        with self._lock:
            self.counts["inboxes that began anew"] += 1
            self._told_of_missing[who] = time.monotonic()

    # At quiet points

    def missing_letters(self) -> list[Letter]:
        """Acknowledged direct messages that have not arrived, and nobody was told that some are missing."""
        with self._lock:
            return [letter for letter in self._letters if self._is_missing(letter)]

    def _is_missing(self, letter: Letter) -> bool:
        told = self._told_of_missing.get(letter.to, -inf)
        return letter.sent > told and not self._received[letter.to][letter.text]

    def settle_letters(
        self, inboxes: Mapping[str, Sequence[str]], losses: Sequence[tuple[float, float]]
    ) -> None:
        """Compares what is in everybody's inbox with what was acknowledged, and with what has arrived.

        Every direct message must be there and arrive, once, unless Redis may have lost it. What is there need
        not have arrived if the recipient was told that the inbox is another one.
        """
        kept = {who: Counter(texts) for who, texts in inboxes.items()}
        with self._lock:
            letters, self._letters = self._letters, []
            for letter in letters:
                if _may_be_lost(letter, losses):
                    self.counts["direct messages lost in a failover"] += self._is_missing(letter)
                    continue
                self._letters.append(letter)
                times = kept.get(letter.to, Counter())[letter.text]
                if times != 1:
                    what = f"{letter.text!r} of {letter.who} is {times} times in the inbox"
                    self._checker.fault(letter.to, what)
                elif self._is_missing(letter):
                    what = f"{letter.text!r} of {letter.who} was acknowledged and did not arrive"
                    self._checker.fault(letter.to, what)
            # What a failover lost after it had arrived is sent again, and arrives again.
            excused = {letter.text for letter in letters if _may_be_lost(letter, losses)}
            for who, received in self._received.items():
                for text in [it for it, times in received.items() if times > 1]:
                    if text not in excused:
                        when = [_when(letter, losses) for letter in letters if letter.text == text]
                        what = f"the direct message {text!r} arrived {received[text]} times"
                        self._checker.fault(who, ", ".join([what, *when]))
                    received[text] = 1  # told, or excused for good

    def settle_room(
        self, room: str, epoch: str, events: Sequence[Frame], losses: Sequence[tuple[float, float]]
    ) -> None:
        """Compares a room's whole log with what people saw and were promised.

        From now on, what is there may only be lost by what happens from now on.
        """
        now = time.monotonic()
        self.entered(room, epoch)
        places: dict[str, int] = {}
        for number, event in enumerate(events, 1):
            if event["id"] != number:
                self.fault("the log", f"of {room} has {event['id']} at place {number}")
                return
            self.saw("the log", room, epoch, event)
            if event["type"] == "message":
                places[event["message"]] = number
        with self._lock:
            self._check_order(room, places)
            seen = self._checker.logs.get(Log(room, epoch), {})
            for number in sorted(set(seen) - set(range(1, len(events) + 1))):
                self._checker.fault(
                    "the log", f"of {room} lacks event {number} of this epoch: {seen[number]}"
                )
            kept = []
            for promise in self._promises:
                at = places.get(promise.text, "nowhere")
                if promise.room != room:
                    kept.append(promise)
                elif at == promise.offset:
                    kept.append(promise._replace(sent=now, acknowledged=now))
                elif _may_be_lost(promise, losses) and isinstance(at, int):
                    # Two masters have it, because its sender came to another node before the first reply. The
                    # acknowledgement is that of the one whose log was lost.
                    self.counts["messages moved by a split brain"] += 1
                    kept.append(promise._replace(offset=at, sent=now, acknowledged=now))
                elif _may_be_lost(promise, losses) and not _is_in(seen, promise.text):
                    self.counts["messages lost in a failover"] += 1
                else:
                    self._checker.fault(
                        promise.who,
                        f"{promise.text!r} was acknowledged at {promise.offset} of {room} and is {at}",
                    )
            self._promises = kept

    def settle_epochs(self, restarts: int) -> None:
        """An epoch ends for a reason: Redis was started again, or replaced."""
        with self._lock:
            for room, epochs in self._epochs.items():
                if len(epochs) > restarts + 1:
                    self._checker.fault(
                        "the log", f"of {room} had {len(epochs)} epochs; Redis restarted {restarts} times"
                    )
            self.counts["epochs"] = sum(map(len, self._epochs.values()))

    def _check_order(self, room: str, places: Mapping[str, int]) -> None:
        last: dict[str, int] = {}
        for text in sorted(places, key=places.__getitem__):
            who, _, serial = text.rpartition(".")
            if int(serial) <= last.get(who, 0):
                self._checker.fault(who, f"{text!r} comes after a later one in {room}")
            last[who] = int(serial)


def _is_in(seen: Mapping[int, Fact], text: str) -> bool:
    return any(fact.text == text for fact in seen.values())


def _when(what: Promise | Letter, losses: Sequence[tuple[float, float]]) -> str:
    after = [what.sent - end for _, end in losses if end < what.sent]
    before = [begin - what.acknowledged for begin, _ in losses if begin > what.acknowledged]
    return (
        f"sent {min(after, default=0):.3f} s after a failover, "
        f"acknowledged {min(before, default=0):.3f} s before one"
    )


def _may_be_lost(what: Promise | Letter, losses: Sequence[tuple[float, float]]) -> bool:
    return any(what.sent <= end and what.acknowledged >= begin for begin, end in losses)
