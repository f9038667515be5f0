"""Tests of bans and mutes: what they say, whom they hold against, and that looking them up needs no lock."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.chat.helpers import PATIENCE, join, run
from threadchat.chat.access.addresses import neighbourhood, spelled, within
from threadchat.chat.access.sanctions import BAN, MUTE, Sanction, Sanctions
from threadchat.errors import CommandError, ErrorCode

NOW = 1_800_000_000


class Clock:
    """Unix time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(clock: Clock) -> Sanctions:
    return Sanctions(3, clock=clock)


# -- what they say -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sanction", "sentence"),
    [
        (Sanction(BAN, 7), "you are banned"),
        (Sanction(MUTE, 7, "lobby"), "you are muted in room lobby"),
        (
            Sanction(BAN, 7, "lobby", NOW, "spam"),
            "you are banned from room lobby until 2027-01-15 08:00:00 UTC: spam",
        ),
        (Sanction(MUTE, "192.0.2.1", reason="noise"), "you are muted: noise"),
    ],
)
def test_it_says_what_holds_where_until_when_and_why(sanction: Sanction, sentence: str) -> None:
    assert sanction.sentence() == sentence
    assert sanction.sentence("Your address is") == sentence.replace("you are", "Your address is", 1)


def test_a_list_leaves_out_what_does_not_apply() -> None:
    assert Sanction(BAN, 7).describe() == {"kind": "ban", "user": 7}
    full = Sanction(MUTE, "192.0.2.0/24", "lobby", NOW, "spam", 9)
    assert full.describe() == {
        "kind": "mute",
        "address": "192.0.2.0/24",
        "room": "lobby",
        "until": NOW,
        "reason": "spam",
        "by": 9,
    }


# -- addresses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "one"),
    [
        ("192.0.2.7", "192.0.2.7"),
        (" 192.0.2.7 ", "192.0.2.7"),
        ("192.0.2.7/32", "192.0.2.7"),
        ("192.0.2.7/24", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("2001:db8::1/64", "2001:db8::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7/120", "192.0.2.0/24"),
        ("::/0", "::/0"),
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1%eth0/64", "fe80::/64"),
    ],
)
def test_an_address_has_one_spelling(given: str, one: str) -> None:
    assert spelled(given) == one == spelled(one)


@pytest.mark.parametrize("bad", ["", "x", "192.0.2", "192.0.2.7/33", "192.0.2.0-9", "example.org", "1:2"])
def test_what_is_no_address_is_refused_in_words(bad: str) -> None:
    with pytest.raises(CommandError, match="use one such as") as caught:
        spelled(bad)
    assert caught.value.code is ErrorCode.BAD_REQUEST


def test_an_ipv6_host_has_a_64() -> None:
    assert neighbourhood("192.0.2.7") == "192.0.2.7"
    assert neighbourhood("2001:db8::7:1") == "2001:db8::/64"
    assert neighbourhood("::ffff:192.0.2.7") == "192.0.2.7"


@pytest.mark.parametrize(
    ("address", "network", "expected"),
    [
        ("192.0.2.7", "192.0.2.0/24", True),
        ("192.0.3.7", "192.0.2.0/24", False),
        ("192.0.2.7", "192.0.2.7", True),
        ("::ffff:192.0.2.7", "192.0.2.0/24", True),
        ("2001:db8::9", "2001:db8::/64", True),
        ("fe80::9%eth0", "fe80::/10", True),
        ("2001:db8::9", "0.0.0.0/0", False),
        ("192.0.2.7", "::/0", False),
        ("192.0.2.0/24", "192.0.2.7", False),
        ("", "0.0.0.0/0", False),
        ("unix:", "0.0.0.0/0", False),
    ],
)
def test_what_is_within_a_network(address: str, network: str, expected: bool) -> None:
    assert within(address, network) is expected
    table = Sanctions()
    table.impose(Sanction(BAN, network))
    assert (table.find(BAN, address) is not None) is expected
    assert (table.concerning(None, address) != ()) is expected
    assert table.covers(Sanction(BAN, network), None, address) is expected


def test_networks_of_several_sizes_are_all_looked_at(table: Sanctions) -> None:
    for network in ("192.0.0.0/16", "192.0.2.0/24", "198.51.100.1"):
        table.impose(Sanction(BAN, network))
    assert [item.subject for item in table.concerning(None, "192.0.2.1")] == ["192.0.0.0/16", "192.0.2.0/24"]
    table.lift(BAN, "192.0.0.0/16")
    assert [item.subject for item in table.concerning(None, "192.0.2.1")] == ["192.0.2.0/24"]
    assert table.find(BAN, "192.0.9.1") is None


# -- what holds --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "asked", "holds"),
    [
        ("", "", True),
        ("", "lobby", True),
        ("lobby", "lobby", True),
        ("lobby", "", False),
        ("lobby", "x", False),
    ],
)
def test_one_that_is_everywhere_holds_in_each_room(
    table: Sanctions, where: str, asked: str, *, holds: bool
) -> None:
    sanction = Sanction(MUTE, 7, where)
    table.impose(sanction)
    assert table.find(MUTE, 7, asked) == (sanction if holds else None)
    assert table.find(BAN, 7, asked) is None
    assert table.find(MUTE, 8, asked) is None
    assert table.find(MUTE, "7", asked) is None


def test_it_is_over_when_its_time_has_come(table: Sanctions, clock: Clock) -> None:
    table.impose(Sanction(BAN, 7, until=NOW + 10))
    clock.now += 9.9
    assert table.find(BAN, 7)
    assert len(table.list()) == 1
    clock.now += 0.1
    assert table.find(BAN, 7) is None
    assert table.list() == []
    assert not table.lift(BAN, 7), "there is nothing in force to be lifted"


def test_a_later_one_takes_the_place_of_the_same(table: Sanctions) -> None:
    table.impose(Sanction(BAN, 7, until=NOW + 10, reason="first"))
    table.impose(Sanction(BAN, 7, reason="second"))
    assert [item.reason for item in table.list()] == ["second"]
    assert table.lift(BAN, 7)
    assert not table.lift(BAN, 7)
    assert table.by_subject == {}


def test_a_list_is_of_a_room_or_of_all(table: Sanctions) -> None:
    everywhere, lobby, other = Sanction(BAN, 7), Sanction(BAN, 7, "lobby"), Sanction(MUTE, 8, "other")
    for sanction in (everywhere, lobby, other):
        table.impose(sanction)
    assert table.list() == [everywhere, lobby, other]
    assert table.list("") == [everywhere]
    assert table.list("lobby") == [lobby]
    assert table.concerning(7, "") == (everywhere, lobby)
    assert table.covers(lobby, 7, "")
    assert not table.covers(lobby, 8, "")
    assert not table.covers(lobby, None, "192.0.2.1")


def test_full_is_said_and_what_is_over_goes_first(table: Sanctions, clock: Clock) -> None:
    table.impose(Sanction(BAN, 1, until=NOW + 10))
    table.impose(Sanction(BAN, 2))
    table.impose(Sanction(BAN, 3))
    with pytest.raises(CommandError, match="there are 3 bans and mutes already") as caught:
        table.impose(Sanction(BAN, 4))
    assert caught.value.code is ErrorCode.LIMIT_EXCEEDED
    table.impose(Sanction(BAN, 3, reason="the same place"))
    clock.now += 10
    table.impose(Sanction(BAN, 4))
    assert [item.subject for item in table.list()] == [2, 3, 4]
    assert 1 not in table.by_subject


def test_each_change_is_a_new_version(table: Sanctions) -> None:
    versions = [table.version]
    for change in (
        lambda: table.impose(Sanction(BAN, 7)),
        lambda: table.impose(Sanction(BAN, 7, until=NOW + 1)),
        lambda: table.lift(BAN, 7),
    ):
        change()
        versions.append(table.version)
    assert versions == sorted(set(versions))
    table.lift(BAN, 7)
    assert table.version == versions[-1]


def test_it_is_carried_out_once_it_is_in_force(table: Sanctions) -> None:
    seen: list[tuple[Sanction, Any]] = []
    table.connect(lambda sanction: seen.append((sanction, table.find(sanction.kind, sanction.subject))))
    table.impose(Sanction(BAN, 7))
    table.lift(BAN, 7)
    assert seen == [(Sanction(BAN, 7), Sanction(BAN, 7))]


def test_a_lookup_waits_for_no_change() -> None:
    """Whoever writes to a disk under the lock keeps nobody from speaking."""
    entered, go_on = threading.Event(), threading.Event()

    class Slow(Sanctions):
        def _keep_locked(self, sanction: Sanction) -> None:
            entered.set()
            assert go_on.wait(PATIENCE)

    table = Slow()
    threads = run(lambda: table.impose(Sanction(BAN, 7)))
    assert entered.wait(PATIENCE)
    assert table.find(BAN, 7) is None
    assert table.concerning(7, "192.0.2.1") == ()
    go_on.set()
    join(threads)
    assert table.find(BAN, 7) is not None


def test_many_who_change_and_look_at_once_lose_nothing() -> None:
    table = Sanctions()
    barrier = threading.Barrier(5)

    def change(first: int) -> None:
        barrier.wait(PATIENCE)
        for user in range(first, first + 200):
            table.impose(Sanction(BAN, user))
            table.impose(Sanction(BAN, f"10.{first % 7}.{user % 256}.0/24"))
            if user % 2:
                assert table.lift(BAN, user)

    def look() -> None:
        barrier.wait(PATIENCE)
        for user in range(800):
            found = table.find(BAN, user)
            assert found is None or found.subject == user
            table.concerning(user, "10.0.1.2")

    join(run(*[lambda first=first: change(first) for first in (0, 1000, 2000, 3000)], look))
    users = [item.subject for item in table.list() if isinstance(item.subject, int)]
    assert sorted(users) == [first + i for first in (0, 1000, 2000, 3000) for i in range(0, 200, 2)]


# -- whose they are ----------------------------------------------------------------------------------


def fill(table: Sanctions, room: str, by: int, first: int) -> int:
    """Mutes people until that is refused; returns how many."""
    for number in range(1000):
        try:
            table.impose(Sanction(MUTE, first + number, room, by=by))
        except CommandError:
            return number
    raise AssertionError("nothing was refused")


def test_no_room_has_more_than_are_left(clock: Clock) -> None:
    table = Sanctions(100, clock=clock)
    assert fill(table, "a", 1, 1000) == 50
    assert fill(table, "b", 2, 2000) == 25
    with pytest.raises(CommandError, match="room a, or you, have as many of the 100"):
        table.impose(Sanction(MUTE, 5000, "a", by=3))
    table.impose(Sanction(MUTE, 1000, "a", reason="another reason", by=1))
    for number in range(25):
        table.impose(Sanction(BAN, 3000 + number))
    with pytest.raises(CommandError, match="there are 100 bans and mutes already"):
        table.impose(Sanction(BAN, 4000))


def test_no_moderator_has_either(clock: Clock) -> None:
    table = Sanctions(100, clock=clock)
    imposed = sum(fill(table, f"room {number}", 1, 1000 * number) for number in range(1, 6))
    assert imposed == 50


def test_what_is_lifted_replaced_or_over_takes_no_share(clock: Clock) -> None:
    table = Sanctions(100, clock=clock)
    for _ in range(3):
        assert fill(table, "a", 1, 1000) == 50
        for number in range(50):
            assert table.lift(MUTE, 1000 + number, "a")
    for number in range(50):
        table.impose(Sanction(MUTE, 1000 + number, "a", by=1, until=NOW + 10))
        table.impose(Sanction(MUTE, 1000 + number, "a", by=2, until=NOW + 10))
    assert fill(table, "b", 1, 2000) == 25
    clock.now += 10
    assert fill(table, "a", 2, 3000) > 25
