"""When a message that was begun and does not end costs its connection, and which of many does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.wire.helpers import Hand, finish, start
from threadchat.wire.limits import DEFAULT_LIMITS
from threadchat.wire.pinger import CATCHING_UP, Deadlines
from threadchat.wire.unfinished import GRACE, Unfinished, UnfinishedBudget

TIMEOUT = 30.0


class Half:
    """What is looked at, of a connection that the test plays, with a clock of its own."""

    def __init__(self, budget: UnfinishedBudget | None = None, timeout: float | None = TIMEOUT) -> None:
        self.hand = Hand()
        self.ended: list[str] = []
        self.keepalive: Any = SimpleNamespace(reading_since=self.hand.clock())
        self.transport: Any = SimpleNamespace(
            is_within=False,
            progress=(0, 0),
            held=0,
            drop=lambda: self.ended.append("dropped"),
            is_behind=lambda: False,
        )
        self.unfinished = Unfinished(
            Deadlines(self.hand.pinger),
            self.keepalive,
            DEFAULT_LIMITS._replace(message_timeout=timeout),
            budget,
            self._abort,
        )

    def _abort(self, code: int, reason: str) -> None:
        self.ended.append(f"{int(code)} {reason}")
        self.unfinished.end()  # as the connection does, once its threads have ended

    def come(self, size: int, *, whole: int = 0, held: int | None = None) -> None:
        """So many bytes of the present message have come by now; 0: it is whole."""
        self.transport.is_within = size > 0
        self.transport.progress = (whole, size)
        self.transport.held = size if held is None else held
        self.unfinished.look(self.transport)


def test_a_message_without_progress_ends_its_connection() -> None:
    half = Half()
    half.come(10)
    half.hand.advance(TIMEOUT)
    assert half.ended == []
    half.hand.advance(GRACE)
    assert half.ended == ["dropped", "3008 slow: a message was begun, and no more of it came for 30 s"]


def test_what_else_comes_is_no_progress() -> None:
    half = Half()
    half.come(10)
    for _ in range(31):
        half.come(10)  # a ping, say
        half.hand.advance(1)
    assert half.ended


def test_each_byte_of_it_is() -> None:
    half = Half()
    for size in range(1, 20):
        half.come(size)
        half.hand.advance(TIMEOUT - 1)
    assert half.ended == []
    half.come(0, whole=1)
    half.hand.advance(1000)
    assert half.ended == []


def test_another_message_of_the_same_size_is_another() -> None:
    half = Half()
    for whole in range(5):
        half.come(10, whole=whole)
        half.hand.advance(TIMEOUT - 1)
    assert half.ended == []


def test_one_after_a_pause_has_its_own_time() -> None:
    half = Half()
    half.come(1)
    half.come(0, whole=1)
    half.hand.advance(TIMEOUT * 3)
    half.come(5, whole=1)
    half.hand.advance(TIMEOUT - 1)
    assert half.ended == []
    half.hand.advance(1)
    half.hand.advance(GRACE)
    assert half.ended


def test_a_reader_that_is_busy_is_not_the_peers_fault() -> None:
    half = Half()
    half.come(10)
    half.keepalive.reading_since = None
    half.hand.advance(TIMEOUT)
    half.keepalive.reading_since = half.hand.clock()
    half.hand.advance(TIMEOUT - 1)
    assert half.ended == []


def test_nor_is_one_that_was_until_just_now() -> None:
    half = Half()
    half.come(10)
    half.hand.advance(TIMEOUT)
    half.come(20)
    half.hand.advance(GRACE)
    assert half.ended == []


def test_without_a_deadline_there_is_none() -> None:
    half = Half(timeout=None)
    half.come(10)
    half.hand.advance(100_000)
    assert half.ended == []


def test_the_largest_goes_and_only_that() -> None:
    budget = UnfinishedBudget(100)
    small, large, medium = Half(budget), Half(budget), Half(budget)
    small.come(10)
    large.come(50)
    medium.come(40)
    assert [len(it.ended) for it in (small, large, medium)] == [0, 0, 0]
    medium.come(41)
    assert [len(it.ended) for it in (small, large, medium)] == [0, 2, 0]
    assert "unfinished_bytes" in large.ended[1]
    assert budget.total == 51


def test_what_is_whole_or_over_counts_no_longer() -> None:
    budget = UnfinishedBudget(100)
    first, second = Half(budget), Half(budget)
    for whole in range(10):
        first.come(90, whole=whole)
        first.come(0, whole=whole + 1)
    second.come(90)
    second.unfinished.end()
    assert budget.total == 0
    first.come(100, whole=11)
    assert not first.ended
    assert not second.ended


def test_what_is_held_counts_not_what_came() -> None:
    """A little that was compressed may become much."""
    budget = UnfinishedBudget(100)
    half = Half(budget)
    half.come(1, held=101)
    assert half.ended


def test_who_brings_more_waits_until_others_have_let_go() -> None:
    budget = UnfinishedBudget(100)
    large, other = Half(budget), Half(budget)
    large.unfinished._abort = lambda code, reason: None  # its reader has had no turn yet
    large.come(60)
    bringing = start(lambda: other.come(50))
    while not budget._leaving:
        bringing.join(0.001)
    large.unfinished.end()
    finish(bringing)
    assert budget.total == 50
    assert other.ended == []


def test_what_comes_for_one_who_goes_counts_no_more() -> None:
    budget = UnfinishedBudget(100)
    half = Half(budget)
    half.unfinished._abort = lambda code, reason: None
    half.come(101)
    half.come(102)
    assert (budget.total, half.ended) == (0, ["dropped"])
    half.unfinished.end()
    assert budget._leaving == {}


def test_more_of_it_that_waits_for_its_reader_is_in_time() -> None:
    half = Half()
    half.come(10)
    half.transport.is_behind = lambda: True
    half.hand.advance(TIMEOUT)
    for _ in range(30):
        half.hand.advance(GRACE)
    assert half.ended == []
    half.come(20)  # now the reader had a turn
    half.transport.is_behind = lambda: False
    for _ in range(28):
        half.hand.advance(GRACE)
    assert half.ended == []
    for _ in range(4):
        half.hand.advance(GRACE)
    assert half.ended[1:] == ["3008 slow: a message was begun, and no more of it came for 30 s"]


def test_a_reader_that_is_behind_all_the_time_is_not_waited_for_without_end() -> None:
    half = Half()
    half.come(10)
    half.transport.is_behind = lambda: True
    half.hand.advance(TIMEOUT)
    for _ in range(int(CATCHING_UP / GRACE)):
        assert half.ended == []
        half.hand.advance(GRACE)
    assert half.ended
