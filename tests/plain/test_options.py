"""Tests of the options that serve, connect and accept share."""

from __future__ import annotations

from typing import Any

import pytest

from threadchat.errors import ConfigError
from threadchat.plain import options


def limits(**given: Any) -> Any:
    defaults: dict[str, Any] = {"ping_interval": 20, "ping_timeout": 20, "max_size": 1000}
    return options.limits(**defaults | given)


def test_a_peer_may_be_silent_for_interval_and_timeout_together() -> None:
    assert limits().ping_interval == 20
    assert limits(ping_timeout=5).pong_timeout == 25
    assert limits(ping_timeout=None).pong_timeout is None
    assert limits(ping_interval=None).ping_interval is None


def test_sizes() -> None:
    assert limits().max_message_size == 1000
    assert limits(max_size=(7, 3)).max_message_size == 7
    assert limits(max_size=None).max_message_size == options.UNLIMITED
    assert options.receive_queue(3).max_messages == 3
    assert options.receive_queue((5, 2)).max_messages == 5


def test_send_timeout() -> None:
    assert limits().send_timeout == 3
    assert limits(send_timeout=7).send_timeout == 7


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_size": 0}, "max_size=0: must be at least 1 byte, or None"),
        ({"ping_interval": 0}, "ping_interval=0: must be above 0 seconds, or None"),
        ({"ping_timeout": -1}, "ping_timeout=-1: must be above 0"),
        ({"outbox_messages": 3}, "outbox_messages=3: must be at least 4"),
        ({"outbox_bytes": 0}, "outbox_bytes=0: must be at least 1024"),
        ({"send_timeout": float("nan")}, "send_timeout=nan: must be above 0"),
    ],
)
def test_what_cannot_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        limits(**given)


@pytest.mark.parametrize("most", [None, 0, (None, None)])
def test_an_inbox_has_a_bound(most: Any) -> None:
    with pytest.raises(ConfigError, match="none is unlimited"):
        options.receive_queue(most)


def terms(**given: Any) -> options.Terms:
    defaults: dict[str, Any] = {
        "compression": None,
        "open_timeout": 10.0,
        "ping_interval": 20.0,
        "ping_timeout": 20.0,
        "close_timeout": 10.0,
        "send_timeout": None,
        "max_size": 1000,
        "max_queue": 16,
        "outbox_messages": 100,
        "outbox_bytes": 1 << 20,
    }
    return options.terms(**defaults | given)


def test_compression_is_deflate_or_none() -> None:
    assert not terms().limits.compression
    assert terms(compression="deflate").limits.compression
    with pytest.raises(ConfigError, match="compression='zip': must be 'deflate', or None"):
        terms(compression="zip")


def test_serve_and_connect_have_their_terms_in_common() -> None:
    found = terms(open_timeout=None, close_timeout=None, max_queue=3)
    assert (found.open_timeout, found.close_timeout) == (options.NEVER, None)
    assert found.make_receive_queue().max_messages == 3
    assert found.make_receive_queue() is not found.make_receive_queue()


@pytest.mark.parametrize("name", ["open_timeout", "close_timeout", "max_queue", "ping_interval", "max_size"])
def test_none_of_them_can_be_nothing(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}=0"):
        terms(**{name: 0})
