"""Tests of the accounts of people and networks: what they grant, count, and remember."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from threadchat.config.settings import Config
from threadchat.errors import CommandError, ErrorCode
from threadchat.server.budgets import budgets as module
from threadchat.server.budgets.account import BURST, QUERY_BURST, STORED_OF_ADDRESS
from threadchat.server.budgets.budgets import MAX_IDLE, NO_BUDGETS, Budget, Budgets
from threadchat.testing import FakeClock

ADDRESS = "192.0.2.66"


def budgets(**settings: Any) -> Budgets:
    return Budgets(Config(**settings), FakeClock())


def arrive(here: Budgets, address: str = ADDRESS, user: int | None = None) -> Budget:
    budget = Budget(here)
    budget.begin(address)
    if user is not None:
        budget.know(user, known=True)
    return budget


def advance(here: Budgets, seconds: float) -> None:
    assert isinstance(here.clock, FakeClock)
    here.clock.advance(seconds)


def refusal(call: Callable[[], object]) -> CommandError:
    with pytest.raises(CommandError) as raised:
        call()
    return raised.value


def test_connections_of_an_address_share_a_rate() -> None:
    here = budgets(message_rate_per_address=10)
    one, other = arrive(here), arrive(here)
    assert one.grant(100, 100) == 100
    assert other.grant(100, 100) == 10 * BURST - 100
    assert other.refusal == (
        "all connections from 192.0.2.66 together may send at most 10 messages a second "
        "(message_rate_per_address); try again in 0.1 s"
    )
    assert arrive(here, "192.0.2.67").grant(100, 100) == 100
    advance(here, 1)
    assert one.grant(100, 100) == 10
    advance(here, 1000)
    assert one.grant(1000, 100) == 10 * BURST


def test_bytes_may_go_below_zero_once() -> None:
    here = budgets(byte_rate_per_address=1000)
    eve = arrive(here)
    assert eve.grant(1, 30_000) == 1
    assert eve.grant(1, 10) == 0
    assert "1000 bytes a second (byte_rate_per_address); try again in 14.0 s" in eve.refusal
    advance(here, 14.5)
    assert eve.grant(5, 10) == 5


def test_a_user_has_half_of_it_from_all_addresses() -> None:
    here = budgets(message_rate_per_address=10)
    granted = [arrive(here, f"192.0.2.{i}", user=7).grant(50, 10) for i in range(3)]
    assert granted == [50, 30, 0]
    eve = arrive(here, user=7)
    assert eve.grant(1, 1) == 0
    assert eve.refusal.startswith(
        "all your connections together may send at most 5 messages a second (half of"
    )
    assert arrive(here, user=8).grant(50, 10) == 50


def test_who_says_hello_again_has_one_account() -> None:
    here = budgets(subscriptions_per_address=10)
    eve = arrive(here, user=7)
    eve.know(8, known=True)
    assert [account.owner.name for account in eve.accounts] == [ADDRESS, "user 8"]
    eve.end()
    assert all(not account.sessions for account in here._accounts.values())


def test_networks_of_ipv6() -> None:
    here = budgets(subscriptions_per_address=2)
    eve = arrive(here, "2001:db8:1:2::3")
    assert [account.owner.name for account in eve.accounts] == ["2001:db8:1:2::/64", "2001:db8:1::/48"]
    assert [account.allowance.subscriptions for account in eve.accounts] == [2, 8]
    assert [account.owner.name for account in arrive(here, "::ffff:192.0.2.66").accounts] == [ADDRESS]


def test_whoever_is_exempt_has_no_account() -> None:
    here = budgets(trusted_proxy="10.0.0.1", address_exempt="203.0.113.0/24, 2001:db8::/32")
    for address in ("", "10.0.0.1", "203.0.113.9", "2001:db8::1", "::ffff:203.0.113.9"):
        assert arrive(here, address).accounts == []
    assert arrive(here, "127.0.0.1").accounts
    assert not arrive(budgets(), "127.0.0.1").accounts
    assert not arrive(budgets(), "::1").accounts
    assert not arrive(NO_BUDGETS, ADDRESS, user=7).accounts


def test_no_limit_is_none() -> None:
    names = ("message_rate", "byte_rate", "query_time", "catch_ups", "subscriptions", "rooms")
    here = budgets(**{f"{name}_per_address": 0 for name in names})
    eve = arrive(here, user=7)
    for _ in range(100):
        assert eve.grant(10**6, 10**9) == 10**6
        eve.hold("subscriptions")
        assert eve.enter(int)
        assert eve.spend(1000.0) == 0.0


def test_what_is_held_is_held_by_all_or_none() -> None:
    here = budgets(subscriptions_per_address=4)
    eve = arrive(here, user=7)
    held = [eve.hold("subscriptions"), eve.hold("subscriptions")]
    error = refusal(lambda: eve.hold("subscriptions"))
    assert (error.code, error.temporary) == (ErrorCode.LIMIT_EXCEEDED, True)
    assert "all your connections together may have at most 2 subscriptions (half of" in error.reason
    other = arrive(here)
    assert [other.hold("subscriptions") for _ in range(2)]
    assert "all connections from 192.0.2.66" in refusal(lambda: other.hold("subscriptions")).reason
    eve.release("subscriptions", held.pop())
    other.hold("subscriptions")


def test_the_time_of_questions_is_taken_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    here = budgets(query_time_per_address=100)
    eve, used = arrive(here), iter([0.0, 100.0])
    monkeypatch.setattr(module, "thread_time", lambda: next(used))
    with eve.question():
        pass
    error = refusal(lambda: eve.question().__enter__())
    assert error.code is ErrorCode.TOO_MANY_REQUESTS
    missing = (100 - 0.1 * QUERY_BURST) / 0.1
    assert (
        f"100 ms of CPU time a second (query_time_per_address); try again in {missing:.1f} s" in error.reason
    )
    advance(here, missing + 1)
    monkeypatch.undo()
    with eve.question():
        pass


def test_a_question_that_fails_costs_its_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    here = budgets()
    eve, used = arrive(here), iter([0.0, 100.0])
    monkeypatch.setattr(module, "thread_time", lambda: next(used))
    with pytest.raises(ZeroDivisionError), eve.question():
        raise ZeroDivisionError
    assert eve.spend(0.0) > 0


def test_messages_for_the_absent() -> None:
    here = budgets()
    for _ in range(100):
        assert arrive(here, user=7).may_store()
        arrive(here, user=7).note_stored()
    assert not arrive(here, "192.0.2.1", user=7).may_store()
    assert arrive(here, user=8).may_store()
    for _ in range(100 * (STORED_OF_ADDRESS - 1)):
        arrive(here).note_stored()
    assert not arrive(here, user=8).may_store()
    advance(here, 36)
    assert arrive(here, user=7).may_store()


def test_threads_that_catch_up_wait_for_each_other() -> None:
    here = budgets(catch_ups_per_address=2)
    started: list[int] = []
    people = [arrive(here) for _ in range(5)]
    may = [person.enter(lambda number=number: started.append(number)) for number, person in enumerate(people)]  # type: ignore[misc]
    assert may == [True, True, False, False, False]
    people[0].leave()
    assert started == [2]
    people[2].leave()
    people[1].leave()
    assert started == [2, 3, 4]
    people[3].leave()
    people[4].leave()
    assert arrive(here).enter(int)
    assert arrive(here).enter(int)
    assert not arrive(here).enter(int)


def test_a_new_connection_is_no_new_budget_and_memory_is_bounded() -> None:
    here = budgets(message_rate_per_address=10)
    eve = arrive(here)
    eve.grant(1000, 10)
    eve.end()
    for number in range(MAX_IDLE - 1):
        arrive(here, f"10.{number >> 8}.{number & 255}.1").end()
    again = arrive(here)
    assert again.grant(1000, 10) == 0
    for number in range(2 * MAX_IDLE):
        arrive(here, f"11.{number >> 8}.{number & 255}.1").end()
    assert again.grant(1000, 10) == 0, "an account in use is never forgotten"
    assert len(here._accounts) == MAX_IDLE + 1
    again.end()
    here.leave_behind()
    assert not here._accounts


def test_one_log_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    here = budgets(message_rate_per_address=1)
    for _ in range(100):
        arrive(here).grant(100, 10)
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("192.0.2.66 may send at most 1 messages a second (message_rate_per_address), and")
    advance(here, 60)
    arrive(here).grant(100, 10)
    assert len(caplog.records) == 2


def test_many_threads_take_no_more_than_there_is() -> None:
    here = budgets(message_rate_per_address=1000)
    granted: list[int] = []
    barrier = threading.Barrier(8)

    def take() -> None:
        eve = arrive(here)
        barrier.wait(60)
        granted.append(sum(eve.grant(7, 10) for _ in range(500)))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 1000 * BURST
