"""Covers server/http/connection_limits.py: who finds room, and that whoever goes makes some."""

from __future__ import annotations

import pytest

from threadchat.server.http.connection_limits import ConnectionLimits, counted_as
from threadchat.server.http.proxies import Proxies


def test_in_all() -> None:
    limits = ConnectionLimits(2, 0, Proxies())
    assert limits.counted_as(("10.0.0.1", 1)) is None
    assert [limits.take(None), limits.take(None), limits.take(None)] == [True, True, False]
    limits.give_back(None)
    assert limits.taken == 1
    assert limits.take(None)


def test_of_one_address() -> None:
    limits = ConnectionLimits(0, 2, Proxies())
    ann, bob = (limits.counted_as((address, 1)) for address in ("10.0.0.1", "10.0.0.2"))
    assert [limits.take(ann), limits.take(ann), limits.take(ann), limits.take(bob)] == [
        True,
        True,
        False,
        True,
    ]
    limits.give_back(ann)
    assert limits.take(ann)
    for address in (ann, ann, bob):
        limits.give_back(address)
    assert (limits.taken, limits._of) == (0, {}), "those who went are forgotten"


def test_what_found_no_room_in_all_does_not_count_for_its_address() -> None:
    limits = ConnectionLimits(1, 1, Proxies())
    assert limits.take("10.0.0.1")
    assert not limits.take("10.0.0.2")
    limits.give_back("10.0.0.1")
    assert limits.take("10.0.0.2")


def test_ipv4_is_one_address_in_either_dress_and_proxies_do_not_count() -> None:
    limits = ConnectionLimits(0, 1, Proxies("10.0.0.0/8"))
    assert (
        limits.counted_as(("::ffff:192.0.2.1", 1, 0, 0)) == limits.counted_as(("192.0.2.1", 9)) == "192.0.2.1"
    )
    assert limits.counted_as(("10.1.1.1", 1)) is None
    assert limits.counted_as(("::ffff:10.1.1.1", 1, 0, 0)) is None


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("a:b", "a:b"),
    ],
)
def test_an_address_counts_as_what_one_customer_has(address: str, counted: str) -> None:
    assert counted_as(address) == counted


def test_a_network_of_ipv6_is_one_address() -> None:
    limits = ConnectionLimits(0, 1, Proxies())
    ann, eve = (limits.counted_as((address, 1, 0, 0)) for address in ("2001:db8::1", "2001:db8::2"))
    assert limits.take(ann)
    assert not limits.take(eve)
