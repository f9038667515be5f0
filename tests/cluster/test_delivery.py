"""People on three nodes behind nginx: everything reaches everybody once, in one order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cluster.people import Crowd, same_order, sessions
from tests.e2e.process import until

if TYPE_CHECKING:
    from clustering.cluster import Cluster

EACH = 30  # messages that everybody says


def test_a_message_reaches_people_on_all_nodes(cluster: Cluster, crowd: Crowd, room: str) -> None:
    members = crowd.fill(room, each=1)
    assert len({crowd.node_of[member.name].port for member in members}) == 3
    said = [members[0].say(f"from node 1: {number}") for number in range(EACH)]
    for member in members:
        member.take_text(f"from node 1: {EACH - 1}")
        assert [event.id for event in member.heard] == said
        assert [event.message for event in member.heard] == [f"from node 1: {i}" for i in range(EACH)]


def test_many_at_once_are_put_in_one_order(cluster: Cluster, crowd: Crowd, room: str) -> None:
    members = crowd.fill(room, each=2)
    promised = [
        (f"{member.name} {number}", member.chat.post(room, f"{member.name} {number}"))
        for number in range(EACH)
        for member in members
    ]
    for text, future in promised:
        members[0].acknowledged[text] = future.result(20).offset
    account = crowd.settle()
    assert (account.acknowledged, account.lost, account.duplicates) == (6 * EACH + 1, [], [])
    assert same_order(members)


def test_everybody_is_seen_everywhere(cluster: Cluster, crowd: Crowd, room: str) -> None:
    members = crowd.fill(room, each=1)
    expected = {"p0": 1, "p1": 1, "p2": 1}
    for member in members:
        until(lambda member=member: sessions(member) == expected, f"{expected}")  # type: ignore[misc]


def test_a_private_message_finds_its_way(cluster: Cluster, crowd: Crowd, room: str) -> None:
    members = crowd.fill(room, each=1)
    for one in members:
        for other in members:
            assert other.chat.user is not None
            one.chat.direct(other.chat.user, f"{one.name} to {other.name}")
            event = other.take_until(lambda event: event.type == "direct", "a private message")
            assert (event.message, event.nickname) == (f"{one.name} to {other.name}", one.name)
