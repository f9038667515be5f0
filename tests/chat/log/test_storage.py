"""How much a broker may store: what is admitted near the limit, and when to measure."""

from __future__ import annotations

import contextlib

import pytest

from threadchat.chat.log.storage import PORTION, StorageBudget
from threadchat.errors import CommandError, ErrorCode

MOST = 64_000


def fill(budget: StorageBudget, size: int) -> int:
    """Admits as much of that size as it takes."""
    before = budget.used
    with contextlib.suppress(CommandError):
        while True:
            budget.admit(size)
    return (budget.used - before) // size


def test_all_that_fits_is_admitted_until_the_limit_is_near() -> None:
    budget = StorageBudget(MOST)
    fill(budget, 1000)
    assert budget.begin - 1000 <= budget.used <= budget.begin
    assert (budget.refused, budget.pressed) == (True, True)
    with pytest.raises(CommandError, match="storage_bytes") as refused:
        budget.admit(1000)
    assert (refused.value.code, refused.value.temporary) == (ErrorCode.LIMIT_EXCEEDED, True)


def test_the_smaller_a_message_the_later_it_is_refused_and_none_exceeds_the_limit() -> None:
    budget = StorageBudget(MOST)
    for size in (4000, 400, 40, 4, 1):
        assert fill(budget, size) > 0
        assert budget.used <= max(budget.begin, MOST - (PORTION - 1) * size)
    assert MOST - PORTION <= budget.used <= MOST


def test_a_measurement_replaces_the_estimate() -> None:
    budget = StorageBudget(MOST)
    fill(budget, 100)
    budget.measured(10_000)
    assert (budget.used, budget.unmeasured, budget.refused, budget.due) == (10_000, 0, False, False)
    budget.admit(500)
    assert (budget.unmeasured, budget.due) == (500, False)
    budget.admit(600)  # a 64th of the limit since then
    assert (budget.unmeasured, budget.due) == (1100, True)
    budget.measured(MOST)
    assert budget.due
