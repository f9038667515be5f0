"""Ids of users that are text, on every broker: 7 and "7" are two people in all that is kept."""

from __future__ import annotations

import pytest

from tests.broker.brokers import Kind, Make, opened
from threadchat.chat.access.sanctions import BAN, MUTE, Sanction, subject_for
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import MESSAGE, Draft, UserId

PEOPLE: list[UserId] = [7, "7", "ann@example.org", '"7"', "@7", "é ü", "x" * 128, "192.0.2.7", -7, "-7"]


@pytest.mark.parametrize("user", PEOPLE)
def test_an_event_says_whose_it_is(make: Make, user: UserId) -> None:
    room = opened(make())
    room.put(Draft(MESSAGE, user, "ann", "hi"))
    room.outlet.wait_for(1)
    [live], [logged] = room.outlet.records, room.channel.history(None, 9, False).records
    assert live.event.user == logged.event.user == user
    assert type(logged.event.user) is type(user)


def test_keys_are_of_one_user(make: Make) -> None:
    room = opened(make())
    assert [room.put(Draft(MESSAGE, user, "", "hi", key="k")) for user in PEOPLE] == [
        [number] for number in range(1, len(PEOPLE) + 1)
    ]
    assert room.put(*[Draft(MESSAGE, user, "", "again", key="k") for user in PEOPLE]) == list(
        range(1, len(PEOPLE) + 1)
    )


def test_who_is_there(make: Make) -> None:
    hub = Hub(make())
    room = hub.room("r")
    for user in PEOPLE:
        room.enter(user, f"s-{user!r}", str(user))
    found = {occupant.user: occupant.sessions for occupant in room.who()}
    assert found == {user: {f"s-{user!r}"} for user in PEOPLE}
    for user in PEOPLE[:2]:
        room.leave(user, f"s-{user!r}")
        assert user not in {occupant.user for occupant in room.who()}
    hub.close()


def test_a_sanction_is_against_one_user(make: Make, kind: Kind) -> None:
    broker = make()
    broker.sanctions.impose(Sanction(BAN, subject_for("7"), by="admin"))
    broker.sanctions.impose(Sanction(MUTE, subject_for(8), by=1))
    broker.sanctions.impose(Sanction(BAN, "192.0.2.0/24"))
    broker.sanctions.impose(Sanction(BAN, subject_for("192.0.2.7")))

    def banned(user: UserId) -> bool:
        return bool(broker.sanctions.concerning(user, ""))

    for _ in range(2):
        assert [banned(user) for user in ("7", 7, "8", 8, "@7", "192.0.2.7", "192.0.2.8")] == [
            True,
            False,
            False,
            True,
            False,
            True,
            False,
        ]
        assert broker.sanctions.find(BAN, "192.0.2.9") is not None
        described = [item.describe() for item in broker.sanctions.list()]
        assert {"kind": "ban", "user": "7", "by": "admin"} in described
        assert {"kind": "mute", "user": 8, "by": 1} in described
        assert {"kind": "ban", "address": "192.0.2.0/24"} in described
        assert {"kind": "ban", "user": "192.0.2.7"} in described
        if not kind.lasting:
            return
        broker.close()
        broker = make()
        broker.sanctions.list()  # waits until it has read them
    assert not broker.sanctions.lift(BAN, subject_for(7))
    assert broker.sanctions.lift(BAN, subject_for("7"))
    assert not banned("7")
