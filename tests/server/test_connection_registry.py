"""Tests of who is connected: counted in and out, told to go, waited for."""

from __future__ import annotations

import threading
from time import monotonic
from typing import Any

import pytest

from tests.wire.helpers import PATIENCE, finish, start
from threadchat.errors import CloseCode
from threadchat.server.connection_registry import ConnectionRegistry


class Stub:
    """As much of a connection as the registry knows."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.aborted: list[int] = []

    def close(self, code: int) -> None:
        self.told.append(code)

    def abort(self, code: int) -> None:
        self.aborted.append(code)


def come(registry: ConnectionRegistry) -> Any:
    stub: Any = Stub()
    assert registry.admit() is None
    registry.add(stub)
    return stub


def test_there_is_a_limit_where_one_is_asked_for() -> None:
    registry = ConnectionRegistry()
    ann = come(registry)
    assert registry.admit(2) is None, "the second is on its way"
    assert "no room" in str(registry.admit(2))
    assert registry.admit() is None
    registry.give_back()
    registry.give_back()
    assert registry.admit(2) is None
    registry.give_back()
    registry.forget(ann)
    assert len(registry) == 0


def test_there_is_a_limit_for_each_address() -> None:
    registry = ConnectionRegistry()
    assert registry.admit(0, "10.0.0.1", 2) is None
    assert registry.admit(0, "10.0.0.1", 2) is None
    denial = registry.admit(0, "10.0.0.1", 2)
    assert denial is not None
    assert denial.per_address
    assert "too many connections from your address" in denial.sentence
    assert registry.admit(0, "10.0.0.2", 2) is None
    assert registry.admit(0, "", 2) is None, "unknown ones count only in all"
    assert registry.admit(0, "", 2) is registry.admit(0, "", 2) is None
    full = registry.admit(6, "10.0.0.3", 2)
    assert full is not None
    assert not full.per_address


def test_who_goes_makes_room_for_others_of_the_address_and_is_forgotten() -> None:
    registry = ConnectionRegistry()
    ann: Any = Stub()
    assert registry.admit(0, "10.0.0.1", 1) is None
    registry.add(ann, "10.0.0.1")
    assert registry.admit(0, "10.0.0.1", 1) is not None
    registry.forget(ann)
    assert registry.admit(0, "10.0.0.1", 1) is None
    registry.give_back("10.0.0.1")
    assert registry._by_source == {}
    assert registry.wait(0.0)


def test_everybody_is_told_and_whoever_still_comes() -> None:
    registry = ConnectionRegistry()
    early = come(registry)
    assert registry.admit() is None
    registry.close()
    assert "closing" in str(registry.admit())
    late: Any = Stub()
    registry.add(late)
    assert early.told == late.told == [CloseCode.SHUTDOWN]
    assert registry.closing


def test_the_wait_is_for_the_last_one() -> None:
    registry = ConnectionRegistry()
    ann, bob = come(registry), come(registry)
    assert not registry.wait(0.0)
    gone: list[bool] = []
    waiting = start(lambda: gone.append(registry.wait(monotonic() + PATIENCE)))
    registry.forget(ann)
    registry.forget(bob)
    finish(waiting)
    assert gone == [True]


def test_one_on_its_way_is_waited_for_too() -> None:
    registry = ConnectionRegistry()
    assert registry.admit() is None
    assert not registry.wait(0.0)
    registry.give_back()
    assert registry.wait(0.0)


def test_a_reader_of_our_own_is_waited_for_to_its_last_line() -> None:
    registry = ConnectionRegistry()
    go = threading.Event()
    registry.start_reader(lambda: assert_(go.wait(PATIENCE)), "reader-9")
    assert "reader-9" in [thread.name for thread in threading.enumerate()]
    assert not registry.wait(0.0)
    go.set()
    assert registry.wait(monotonic() + PATIENCE)
    assert "reader-9" not in [thread.name for thread in threading.enumerate()]


def assert_(condition: bool) -> None:
    assert condition


def test_a_reader_that_cannot_start_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    registry = ConnectionRegistry()
    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(RuntimeError):
        registry.start_reader(lambda: None, "reader-9")
    assert registry.wait(0.0)


def test_what_does_not_end_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    registry = ConnectionRegistry()
    ann = come(registry)
    registry.cut_off()
    assert ann.aborted == [CloseCode.SHUTDOWN]
    assert "did not end in time" in caplog.text
