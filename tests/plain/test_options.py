"""Tests of the options that serve, connect and accept share."""

from __future__ import annotations

from typing import Any

import pytest

from threadchat.errors import ConfigError
from threadchat.plain import options
from threadchat.plain.websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory


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
    assert limits().write_timeout == 10
    assert limits(write_timeout=70).write_timeout == 70


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


@pytest.mark.parametrize("most", [0, (0, None), (4, 4), (4, -1)])
def test_a_queue_that_cannot_be(most: Any) -> None:
    with pytest.raises(ConfigError, match="must be a number of messages, at least 1"):
        options.receive_queue(most)


def test_a_queue_without_bound_and_one_with_two_marks() -> None:
    assert options.receive_queue(None).max_messages == options.UNLIMITED
    assert options.receive_queue((None, None)).max_messages == options.UNLIMITED
    assert options.receive_queue((8, 1)).low_messages == 1


def terms(**given: Any) -> options.Terms:
    return options.terms("serve", given)  # type: ignore[arg-type]


def test_what_there_is_none_of_says_what_to_do_instead() -> None:
    with pytest.raises(TypeError, match=r"serve\(\) got an unexpected keyword argument 'pings'$"):
        terms(pings=1)
    with pytest.raises(TypeError, match="'thread_class'; each connection has its own threads"):
        terms(thread_class=object)


def test_extensions_are_permessage_deflate_or_none() -> None:
    assert terms(extensions=[ServerPerMessageDeflateFactory()]).limits.compression
    assert not terms(extensions=None).limits.compression
    with pytest.raises(TypeError, match="permessage-deflate is the only one"):
        terms(extensions=[object()])


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
