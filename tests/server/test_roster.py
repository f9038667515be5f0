"""Tests of who is connected: counted in and out, told to go, waited for."""

from __future__ import annotations

import threading
from time import monotonic
from typing import Any

import pytest

from tests.wire.helpers import PATIENCE, finish, start
from threadchat.errors import CloseCode
from threadchat.server.roster import Roster


class Stub:
    """As much of a connection as the roster knows."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.aborted: list[int] = []

    def close(self, code: int) -> None:
        self.told.append(code)

    def abort(self, code: int) -> None:
        self.aborted.append(code)


def come(roster: Roster) -> Any:
    stub: Any = Stub()
    assert roster.admit() is None
    roster.add(stub)
    return stub


def test_there_is_a_limit_where_one_is_asked_for() -> None:
    roster = Roster()
    ann = come(roster)
    assert roster.admit(2) is None, "the second is on its way"
    assert "no room" in str(roster.admit(2))
    assert roster.admit() is None
    roster.give_back()
    roster.give_back()
    assert roster.admit(2) is None
    roster.give_back()
    roster.forget(ann)
    assert len(roster) == 0


def test_there_is_a_limit_for_each_address() -> None:
    roster = Roster()
    assert roster.admit(0, "10.0.0.1", 2) is None
    assert roster.admit(0, "10.0.0.1", 2) is None
    denial = roster.admit(0, "10.0.0.1", 2)
    assert denial is not None
    assert denial.of_address
    assert "too many connections from your address" in denial.sentence
    assert roster.admit(0, "10.0.0.2", 2) is None
    assert roster.admit(0, "", 2) is None, "unknown ones count only in all"
    assert roster.admit(0, "", 2) is roster.admit(0, "", 2) is None
    full = roster.admit(6, "10.0.0.3", 2)
    assert full is not None
    assert not full.of_address


def test_who_goes_makes_room_for_others_of_the_address_and_is_forgotten() -> None:
    roster = Roster()
    ann: Any = Stub()
    assert roster.admit(0, "10.0.0.1", 1) is None
    roster.add(ann, "10.0.0.1")
    assert roster.admit(0, "10.0.0.1", 1) is not None
    roster.forget(ann)
    assert roster.admit(0, "10.0.0.1", 1) is None
    roster.give_back("10.0.0.1")
    assert roster._of == {}
    assert roster.wait(0.0)


def test_everybody_is_told_and_whoever_still_comes() -> None:
    roster = Roster()
    early = come(roster)
    assert roster.admit() is None
    roster.close()
    assert "closing" in str(roster.admit())
    late: Any = Stub()
    roster.add(late)
    assert early.told == late.told == [CloseCode.SHUTDOWN]
    assert roster.closing


def test_the_wait_is_for_the_last_one() -> None:
    roster = Roster()
    ann, bob = come(roster), come(roster)
    assert not roster.wait(0.0)
    gone: list[bool] = []
    waiting = start(lambda: gone.append(roster.wait(monotonic() + PATIENCE)))
    roster.forget(ann)
    roster.forget(bob)
    finish(waiting)
    assert gone == [True]


def test_one_on_its_way_is_waited_for_too() -> None:
    roster = Roster()
    assert roster.admit() is None
    assert not roster.wait(0.0)
    roster.give_back()
    assert roster.wait(0.0)


def test_a_reader_of_our_own_is_waited_for_to_its_last_line() -> None:
    roster = Roster()
    go = threading.Event()
    roster.start_reader(lambda: assert_(go.wait(PATIENCE)), "reader-9")
    assert "reader-9" in [thread.name for thread in threading.enumerate()]
    assert not roster.wait(0.0)
    go.set()
    assert roster.wait(monotonic() + PATIENCE)
    assert "reader-9" not in [thread.name for thread in threading.enumerate()]


def assert_(condition: bool) -> None:
    assert condition


def test_a_reader_that_cannot_start_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    roster = Roster()
    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(RuntimeError):
        roster.start_reader(lambda: None, "reader-9")
    assert roster.wait(0.0)


def test_what_does_not_end_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    roster = Roster()
    ann = come(roster)
    roster.cut_off()
    assert ann.aborted == [CloseCode.SHUTDOWN]
    assert "did not end in time" in caplog.text
