"""Covers server/places.py: who finds room, and that whoever goes makes some."""

from __future__ import annotations

import pytest

from threadchat.server.places import Places, counted_as
from threadchat.server.proxies import Proxies


def test_in_all() -> None:
    places = Places(2, 0, Proxies())
    assert places.counted_as(("10.0.0.1", 1)) is None
    assert [places.take(None), places.take(None), places.take(None)] == [True, True, False]
    places.give_back(None)
    assert places.taken == 1
    assert places.take(None)


def test_of_one_address() -> None:
    places = Places(0, 2, Proxies())
    ann, bob = (places.counted_as((address, 1)) for address in ("10.0.0.1", "10.0.0.2"))
    assert [places.take(ann), places.take(ann), places.take(ann), places.take(bob)] == [
        True,
        True,
        False,
        True,
    ]
    places.give_back(ann)
    assert places.take(ann)
    for address in (ann, ann, bob):
        places.give_back(address)
    assert (places.taken, places._of) == (0, {}), "those who went are forgotten"


def test_what_found_no_room_in_all_does_not_count_for_its_address() -> None:
    places = Places(1, 1, Proxies())
    assert places.take("10.0.0.1")
    assert not places.take("10.0.0.2")
    places.give_back("10.0.0.1")
    assert places.take("10.0.0.2")


def test_ipv4_is_one_address_in_either_dress_and_proxies_do_not_count() -> None:
    places = Places(0, 1, Proxies("10.0.0.0/8"))
    assert (
        places.counted_as(("::ffff:192.0.2.1", 1, 0, 0)) == places.counted_as(("192.0.2.1", 9)) == "192.0.2.1"
    )
    assert places.counted_as(("10.1.1.1", 1)) is None
    assert places.counted_as(("::ffff:10.1.1.1", 1, 0, 0)) is None


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
    places = Places(0, 1, Proxies())
    ann, eve = (places.counted_as((address, 1, 0, 0)) for address in ("2001:db8::1", "2001:db8::2"))
    assert places.take(ann)
    assert not places.take(eve)
