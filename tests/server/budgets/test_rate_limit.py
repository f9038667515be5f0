"""Tests of rates: what a connection may send at once and in the long run, and when it is too much."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.wire.helpers import steady
from threadchat.server.budgets.rate_limit import RateLimit, TokenBucket
from threadchat.testing import FakeClock


def test_a_bucket_is_full_at_first_and_fills_up_again() -> None:
    bucket = TokenBucket(8, 5, 0.0)
    assert bucket.take(3, 0.0) == 3
    assert bucket.take(3, 0.0) == 2
    assert bucket.take(1, 0.0) == 0
    assert bucket.take(3, 0.3125) == 2, "half a token is none"
    assert bucket.take(3, 0.375) == 1, "and is not lost"
    assert bucket.take(99, 1000.0) == 5, "never more than it holds"


@steady
@given(
    st.integers(1, 50),
    st.integers(1, 50),
    st.lists(st.tuples(st.floats(0, 3), st.integers(0, 80)), max_size=60),
)
def test_in_any_time_no_more_than_a_burst_and_the_rate_pass(
    rate: int, size: int, steps: list[tuple[float, int]]
) -> None:
    now, passed = 0.0, 0
    bucket = TokenBucket(rate, size, now)
    for seconds, wanted in steps:
        now += seconds
        taken = bucket.take(wanted, now)
        passed += taken
        assert 0 <= taken <= wanted
        assert passed <= size + rate * now + 1e-6


def run(rate: int, burst: int, speed: int, seconds: int) -> tuple[int, int, bool]:
    """Sends `speed` messages a second, ten times a second: taken, refused, and whether it was too much."""
    clock = FakeClock()
    pace = RateLimit(rate, burst, clock)
    taken = refused = 0
    for _ in range(seconds * 10):
        count = speed // 10
        granted = pace.grant(count)
        taken += granted
        if count > granted:
            bearable = pace.tolerate(count - granted)
            refused += bearable
            if bearable < count - granted:
                return taken, refused, True
        clock.advance(0.1)
    return taken, refused, False


def test_who_keeps_to_the_rate_is_never_refused() -> None:
    assert run(20, 10, 20, 600) == (12_000, 0, False)


def test_who_is_somewhat_too_fast_is_refused_and_stays() -> None:
    taken, refused, too_much = run(20, 10, 30, 600)
    assert not too_much
    assert 12_000 <= taken <= 12_010
    assert taken + refused == 18_000


def test_who_is_much_too_fast_goes() -> None:
    taken, refused, too_much = run(20, 10, 100, 600)
    assert too_much
    assert taken < 30
    assert refused >= 10, "and has been told so"


def test_a_burst_that_is_followed_by_rest_is_refused_in_part_only() -> None:
    clock = FakeClock()
    pace = RateLimit(1, 10, clock)
    for _ in range(5):
        assert pace.grant(20) == 10
        assert pace.tolerate(10) == 10
        clock.advance(10)
    assert pace.grant(21) == 10
    assert pace.tolerate(11) == 10
    assert "1 messages a second, and 10 at once" in pace.refusal
