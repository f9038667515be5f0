"""The heap of deadlines, and the thread that goes through it."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Callable

import pytest

from tests.wire.helpers import PATIENCE, FakeClock, Hand, run_all, short_of_threads, switching
from threadchat.wire.pinger import CATCHING_UP, LOOK, STOPPED, Alarm, Deadlines, Pinger
from threadchat.wire.threads.reports import REPORTS

HALF_A_DAY = 12 * 3600.0


@pytest.fixture
def hand() -> Hand:
    return Hand()


def note(log: list[str], name: str) -> Callable[[], None]:
    return lambda: log.append(name)


def fail() -> None:
    raise ZeroDivisionError


def live_entries(pinger: Pinger) -> int:
    """Entries of the heap that would still do something."""
    return sum(alarm.action is not None for _, _, alarm in pinger._heap)


# -- alarms --------------------------------------------------------------------------------------------


def test_alarms_go_off_in_the_order_of_their_time(hand: Hand) -> None:
    log: list[str] = []
    for seconds in (3, 1, 2):
        hand.pinger.call_later(seconds, note(log, str(seconds)))
    hand.pinger.call_at(1002, note(log, "2, set later"))
    hand.advance(0.9)
    assert log == []
    hand.advance(1.1)
    assert log == ["1", "2", "2, set later"]
    hand.advance(1)
    assert log[3:] == ["3"]


def test_run_due_tells_how_long_there_is_nothing_to_do(hand: Hand) -> None:
    assert hand.pinger.run_due() is None
    hand.pinger.call_later(5, note([], ""))
    assert hand.pinger.run_due() == 5
    hand.clock.advance(2)
    assert hand.pinger.run_due() == 3
    hand.clock.advance(3)
    assert hand.pinger.run_due() is None


def test_a_cancelled_alarm_does_nothing(hand: Hand) -> None:
    log: list[str] = []
    alarm = hand.pinger.call_later(1, note(log, "cancelled"))
    hand.pinger.call_later(1, note(log, "kept"))
    alarm.cancel()
    hand.advance(1)
    assert log == ["kept"]


def test_an_action_may_set_the_next_alarm(hand: Hand) -> None:
    log: list[str] = []

    def again() -> None:
        log.append("now")
        hand.pinger.call_later(1, again)

    again()
    for _ in range(3):
        hand.advance(1)
    assert log == ["now"] * 4


def test_an_action_that_fails_harms_nobody(hand: Hand, caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []
    hand.pinger.call_later(1, fail)
    hand.pinger.call_later(1, note(log, "after it"))
    with caplog.at_level(logging.ERROR):
        hand.advance(1)
    assert log == ["after it"]
    assert REPORTS.flush(PATIENCE)
    assert "ZeroDivisionError" in caplog.text


# -- the thread ----------------------------------------------------------------------------------------


def test_the_thread_starts_with_the_first_alarm_and_runs_what_is_due() -> None:
    pinger = Pinger()
    assert not pinger._thread.is_alive()
    done = threading.Event()
    names: list[str] = []

    def act() -> None:
        names.append(threading.current_thread().name)
        done.set()

    pinger.call_later(PATIENCE * 10, fail)
    pinger.call_later(0, act)  # wakes the thread, which waits for the far one
    assert done.wait(PATIENCE)
    assert names == ["pinger"]
    pinger.stop()
    assert not pinger._thread.is_alive()


def test_the_thread_sleeps_until_the_nearest_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    pinger = Pinger(clock)
    waits: list[float | None] = []
    done = threading.Event()

    def wait(timeout: float | None = None) -> bool:
        waits.append(timeout)
        clock.advance(timeout or 0)
        pinger._stopped = len(waits) == 3
        return True

    monkeypatch.setattr(pinger._changed, "wait", wait)
    with pinger._changed:
        pinger._heap += [(1005.0, 0, Alarm(1005, done.set)), (1007.0, 1, Alarm(1007, done.set))]
    pinger._run()
    assert waits == [5, 2, None]
    assert done.is_set()


@pytest.mark.parametrize(
    ("late", "stopped"), [(0.0, False), (STOPPED, False), (STOPPED + 0.5, True), (500.0, True)]
)
def test_a_thread_that_wakes_much_too_late_was_stopped(
    monkeypatch: pytest.MonkeyPatch, late: float, stopped: bool
) -> None:
    clock = FakeClock()
    pinger = Pinger(clock)
    known: list[float] = []

    def wait(timeout: float | None = None) -> bool:
        clock.advance((timeout or 0) + late)
        pinger._stopped = len(known) == 1
        return True

    monkeypatch.setattr(pinger._changed, "wait", wait)
    with pinger._changed:
        pinger._heap += [(1005.0, 0, Alarm(1005, lambda: known.append(pinger.resumed_at)))]
    pinger._run()
    assert known == [1005 + late if stopped else float("-inf")], "known before anything is done about it"


def test_an_action_that_takes_long_stops_the_process_too(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    pinger = Pinger(clock)

    def wait(timeout: float | None = None) -> bool:
        pinger._stopped = True
        return True

    monkeypatch.setattr(pinger._changed, "wait", wait)
    with pinger._changed:
        pinger._heap += [(1000.0, n, Alarm(1000, lambda: clock.advance(5))) for n in range(2)]
    pinger._run()
    assert pinger.resumed_at == 1005


def test_a_thread_that_had_nothing_to_do_was_not_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    pinger = Pinger(clock)

    def wait(timeout: float | None = None) -> bool:
        assert timeout is None
        clock.advance(5000)
        pinger._stopped = True
        pinger._heap += [(clock() - 0.5, 0, Alarm(clock() - 0.5, lambda: None))]
        return True

    monkeypatch.setattr(pinger._changed, "wait", wait)
    pinger._run()
    assert pinger.resumed_at == float("-inf")


def test_a_thread_that_could_not_start_starts_with_the_next_alarm() -> None:
    pinger = Pinger()
    done = threading.Event()
    with short_of_threads("pinger") as failed:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pinger.call_later(0, done.set)
        assert failed == ["pinger"]
        pinger.call_later(PATIENCE * 10, fail)
    assert done.wait(PATIENCE)
    pinger.stop()


def test_a_stopped_pinger_starts_no_thread() -> None:
    pinger = Pinger()
    pinger.stop()
    pinger.call_later(0, fail)
    assert not pinger._thread.is_alive()


def test_an_action_may_stop_the_pinger() -> None:
    pinger = Pinger()
    pinger.call_later(0, pinger.stop)
    pinger._thread.join(PATIENCE)
    assert not pinger._thread.is_alive()


def test_many_threads_set_alarms_at_once() -> None:
    with switching():
        pinger = Pinger()
        gone_off: list[int] = []
        all_done = threading.Event()

        def act(i: int) -> None:
            gone_off.append(i)
            if len(gone_off) == 400:
                all_done.set()

        def set_some(who: int) -> None:
            for i in range(50):
                pinger.call_later(0.0, lambda i=i: act(who * 50 + i))  # type: ignore[misc]

        run_all([lambda who=who: set_some(who) for who in range(8)])  # type: ignore[misc]
        assert all_done.wait(PATIENCE)
        pinger.stop()
    assert sorted(gone_off) == list(range(400))


# -- the deadlines of one connection -------------------------------------------------------------------


def test_deadlines_go_off_in_order_once_each(hand: Hand) -> None:
    log: list[str] = []
    deadlines = Deadlines(hand.pinger)
    for name, seconds in (("late", 3), ("early", 1), ("both", 3)):
        deadlines.set(name, seconds, note(log, name))
    hand.advance(1)
    assert log == ["early"]
    hand.advance(2)
    assert log == ["early", "both", "late"]
    hand.advance(100)
    assert len(log) == 3


def test_the_more_overdue_goes_first(hand: Hand) -> None:
    log: list[str] = []
    deadlines = Deadlines(hand.pinger)
    for name, seconds in (("a", 3), ("b", 2), ("c", 1)):
        deadlines.set(name, seconds, note(log, name))
    hand.advance(50)
    assert log == ["c", "b", "a"]


def test_a_deadline_that_moves_back_is_found_out_when_its_entry_fires(hand: Hand) -> None:
    log: list[str] = []
    deadlines = Deadlines(hand.pinger)
    deadlines.set("x", 10, note(log, "first"))
    hand.advance(9)
    deadlines.set("x", 10, note(log, "second"))
    assert len(hand.pinger._heap) == 1
    hand.advance(1)
    assert log == []
    hand.advance(9)
    assert log == ["second"]


def test_a_deadline_that_moves_forward_goes_off_in_time(hand: Hand) -> None:
    log: list[str] = []
    deadlines = Deadlines(hand.pinger)
    deadlines.set("x", 10, note(log, "x"))
    deadlines.set("x", 2, note(log, "x"))
    hand.advance(2)
    assert log == ["x"]


def test_a_cleared_deadline_does_not_go_off(hand: Hand) -> None:
    log: list[str] = []
    deadlines = Deadlines(hand.pinger)
    deadlines.set("x", 1, note(log, "x"))
    deadlines.set("y", 2, note(log, "y"))
    deadlines.clear("x")
    deadlines.clear("never set")
    hand.advance(2)
    assert log == ["y"]
    deadlines.set("z", 1, note(log, "z"))  # nothing waits, the last entry is spent
    hand.advance(1)
    assert log == ["y", "z"]


def test_one_entry_a_connection_for_the_nearest(hand: Hand) -> None:
    deadlines = Deadlines(hand.pinger)
    for name, seconds in (("ping", 30), ("age", HALF_A_DAY), ("pong", 120), ("hello", 5)):
        deadlines.set(name, seconds, note([], name))
        assert live_entries(hand.pinger) == 1
    assert hand.pinger.run_due() == 5


def test_a_deadline_that_sets_itself_anew_leaves_no_entries_behind(hand: Hand) -> None:
    """A ping every 30 s for twelve hours is one entry, not one more each time."""
    pings: list[str] = []
    deadlines = Deadlines(hand.pinger)

    def ping() -> None:
        pings.append("ping")
        deadlines.set("ping", 30, ping)

    deadlines.set("ping", 30, ping)
    deadlines.set("age", HALF_A_DAY, note(pings, "age"))
    for _ in range(100):
        hand.advance(30)
        assert len(hand.pinger._heap) == 1
    assert pings == ["ping"] * 100


def test_an_action_that_fails_costs_no_other_deadline(hand: Hand, caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []
    deadlines = Deadlines(hand.pinger)
    deadlines.set("bad", 1, fail)
    deadlines.set("good", 1, note(log, "good"))
    deadlines.set("later", 2, note(log, "later"))
    with caplog.at_level(logging.ERROR):
        hand.advance(1)
        hand.advance(1)
    assert log == ["good", "later"]
    assert REPORTS.flush(PATIENCE)
    assert "ZeroDivisionError" in caplog.text


def test_closed_deadlines_neither_go_off_nor_are_set(hand: Hand) -> None:
    log: list[str] = []
    deadlines = Deadlines(hand.pinger)
    deadlines.set("x", 1, note(log, "x"))
    deadlines.close()
    deadlines.set("y", 1, note(log, "y"))
    hand.advance(5)
    assert log == []
    assert live_entries(hand.pinger) == 0


def test_an_action_may_close_the_deadlines(hand: Hand) -> None:
    log: list[str] = []
    deadlines = Deadlines(hand.pinger)
    deadlines.set("end", 1, deadlines.close)
    deadlines.set("later", 2, note(log, "later"))
    hand.advance(5)
    assert log == []
    assert live_entries(hand.pinger) == 0


def test_an_entry_that_was_overtaken_while_it_fired_leaves_no_other_behind(hand: Hand) -> None:
    """`set` puts a nearer entry while the old one is on its way: both fire, one entry remains."""
    log: list[str] = []
    deadlines = Deadlines(hand.pinger)
    deadlines.set("late", 10, note(log, "late"))
    fired = deadlines._fire  # what the pinger holds, having popped the entry
    deadlines.set("soon", 5, note(log, "soon"))
    fired()
    assert live_entries(hand.pinger) == 1
    hand.advance(5)
    hand.advance(5)
    assert log == ["soon", "late"]
    deadlines.close()
    assert live_entries(hand.pinger) == 0


def test_the_dead_are_not_kept_alive_by_a_far_deadline(hand: Hand) -> None:
    class Owner:
        def __init__(self) -> None:
            self.deadlines = Deadlines(hand.pinger)
            self.deadlines.set("age", HALF_A_DAY, self.expire)

        def expire(self) -> None:
            raise AssertionError

    owner = Owner()
    remains = weakref.ref(owner)
    owner.deadlines.close()
    del owner
    gc.collect()
    assert remains() is None
    assert len(hand.pinger._heap) == 1, "its entry is still there, and empty"


def test_deadlines_are_set_from_many_threads() -> None:
    with switching():
        pinger = Pinger()
        deadlines = Deadlines(pinger)
        done = [threading.Event() for _ in range(8)]

        def set_many(who: int) -> None:
            for _ in range(50):
                deadlines.set(str(who), 1000, fail)
            deadlines.set(str(who), 0, done[who].set)

        run_all([lambda who=who: set_many(who) for who in range(8)])  # type: ignore[misc]
        for event in done:
            assert event.wait(PATIENCE)
        deadlines.close()
        pinger.stop()
    assert live_entries(pinger) == 0


def test_what_the_peer_has_to_do_gets_its_time_once_more_where_the_process_was_stopped(hand: Hand) -> None:
    log: list[str] = []
    deadlines = Deadlines(hand.pinger)
    deadlines.give("hello", 5, note(log, "hello"))
    hand.pinger.resumed_at = hand.clock() + 3600  # as the thread would note it, when it wakes too late
    hand.advance(3600)
    assert log == []
    hand.advance(4.9)
    assert log == []
    hand.advance(0.1)
    assert log == ["hello"], "once only"


def test_what_the_peer_has_to_do_ends_in_time_otherwise(hand: Hand) -> None:
    log: list[str] = []
    hand.pinger.resumed_at = hand.clock() - 1
    Deadlines(hand.pinger).give("hello", 5, note(log, "hello"))
    hand.advance(5)
    assert log == ["hello"]


def test_what_came_and_waits_for_its_reader_is_in_time(hand: Hand) -> None:
    log: list[str] = []
    behind = True
    Deadlines(hand.pinger).give("hello", 5, note(log, "hello"), lambda: behind)
    hand.advance(5)
    for _ in range(30):
        hand.advance(LOOK)
    assert log == []
    behind = False
    hand.advance(LOOK)
    assert log == ["hello"], "there is nothing that could be it"


def test_a_peer_that_sends_and_sends_is_not_waited_for_without_end(hand: Hand) -> None:
    log: list[str] = []
    deadlines = Deadlines(hand.pinger)
    deadlines.give("hello", 5, note(log, "hello"), lambda: True)
    hand.advance(5)
    for _ in range(int(CATCHING_UP / LOOK)):
        assert log == []
        hand.advance(LOOK)
    assert log == ["hello"]


def test_what_was_waited_for_clears_the_deadline(hand: Hand) -> None:
    log: list[str] = []
    deadlines = Deadlines(hand.pinger)
    deadlines.give("hello", 5, note(log, "hello"), lambda: True)
    hand.advance(5)
    deadlines.clear("hello")
    hand.advance(100)
    assert log == []
