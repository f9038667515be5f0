"""Nodes and Redis that die, hang and come back: nothing acknowledged is lost, nothing comes twice."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.cluster.people import Crowd, Member, same_order, sessions
from tests.e2e.process import until
from threadchat.client.event import RESET
from threadchat.errors import CommandError, ErrorCode

if TYPE_CHECKING:
    from clustering.cluster import Cluster
    from clustering.parts import Node


def everybody_says_more(members: list[Member], more: int = 5) -> None:
    """Waits until everybody had so many further messages acknowledged."""
    before = {member.name: len(member.acknowledged) for member in members}

    def enough() -> bool:
        for member in members:
            assert member.failure is None, f"{member} failed: {member.failure!r}"
        return all(len(member.acknowledged) >= before[member.name] + more for member in members)

    until(enough, "everybody to say something")


def all_here(members: list[Member]) -> Callable[[], bool]:
    """Whether each sees everybody, with one session."""
    expected = {member.name: 1 for member in members}
    return lambda: all(sessions(member) == expected for member in members)


def all_agree(cluster: Cluster, crowd: Crowd, room: str) -> bool:
    """Whether all nodes have the same log."""
    pages = []
    for node in cluster.nodes:
        page = crowd.on(node)[0].chat.history(room, limit=1000)
        pages.append(
            (page.epoch, page.offset, [(event.id, event.type, event.message) for event in page.events])
        )
    return all(page == pages[0] for page in pages)


def test_clients_of_a_node_that_dies_go_on_elsewhere(cluster: Cluster, crowd: Crowd, room: str) -> None:
    node = cluster.nodes[1]
    members = list(crowd.fill(room, each=2))
    ghost = crowd.enter(room, "ghost", f"ws://127.0.0.1:{node.port}/chat")  # knows no other way
    crowd.members.remove(ghost)
    moved = crowd.on(node)
    users = {member.name: (member.chat.user, member.chat.session) for member in moved}
    crowd.start_speaking()
    everybody_says_more(members)

    node.kill()
    everybody_says_more(members)  # the dead node's people among them
    for member in moved:
        user, session = users[member.name]
        assert (member.chat.user, member.chat.session != session) == (user, True)
    until(all_here(members), "the dead node's people to leave, and its clients to be here once")

    account = crowd.settle()
    assert (account.lost, account.duplicates) == ([], [])
    assert account.acknowledged > 10 * len(members)
    assert not [member for member in members if member.troubles]
    assert same_order(members)
    for member in crowd.members:
        gone = [event for event in member.events if event.type == "leave" and event.nickname == "ghost"]
        assert len(gone) == 1, "the ghost leaves once"
    ghost.close()


def test_redis_is_stopped_and_started_again(cluster: Cluster, crowd: Crowd, room: str) -> None:
    members = crowd.fill(room, each=2)
    before = [member.chat.session for member in members]
    crowd.start_speaking()
    everybody_says_more(members)

    cluster.store.stop()
    until(lambda: all(member.refusals for member in members), "everybody to be refused")
    for node in cluster.nodes:
        until(lambda node=node: not node.is_ready(), f"{node} to notice")  # type: ignore[misc]
        with pytest.raises(CommandError) as caught:
            crowd.on(node)[0].chat.who(room)
        assert (caught.value.code, caught.value.temporary) == (ErrorCode.INTERNAL, True)
    cluster.store.start()
    everybody_says_more(members)

    account = crowd.settle()
    assert (account.lost, account.duplicates) == ([], [])
    assert [member.chat.session for member in members] == before, "connections stay"
    assert {(refusal.code, refusal.temporary) for member in members for refusal in member.refusals} == {
        (ErrorCode.INTERNAL, True)
    }
    assert not [member for member in members if member.troubles]
    assert same_order(members)
    assert all_agree(cluster, crowd, room)
    until(all_here(members), "everybody to be seen again")


def test_redis_dies_and_comes_back(cluster: Cluster, crowd: Crowd, room: str) -> None:
    members = crowd.fill(room, each=2)
    crowd.start_speaking()
    everybody_says_more(members)
    cluster.store.kill()
    until(lambda: all(member.refusals for member in members), "everybody to be refused")
    cluster.store.start()
    everybody_says_more(members)
    account = crowd.settle()
    assert (account.lost, account.duplicates) == ([], [])
    assert same_order(members)
    assert all_agree(cluster, crowd, room)


def test_redis_hangs_and_goes_on(cluster: Cluster, crowd: Crowd, room: str) -> None:
    """What was under way is done after all, once its sender has been refused and has said it again."""
    members = crowd.fill(room, each=2)
    before = [member.chat.session for member in members]
    crowd.start_speaking()
    everybody_says_more(members)
    cluster.store.send_signal(signal.SIGSTOP)
    until(lambda: all(member.refusals for member in members), "everybody to be refused")
    cluster.store.send_signal(signal.SIGCONT)
    everybody_says_more(members)
    account = crowd.settle()
    assert (account.lost, account.duplicates) == ([], [])
    assert [member.chat.session for member in members] == before, "connections stay"
    assert same_order(members)
    assert all_agree(cluster, crowd, room)


def test_redis_is_emptied(cluster: Cluster, crowd: Crowd, room: str) -> None:
    members = crowd.fill(room, each=1)
    for number in range(5):
        members[0].say(f"before {number}")
    epoch = members[0].chat.history(room).epoch
    for member in members:
        member.take_text("before 4")

    assert cluster.store.talk(b"FLUSHALL\r\n") == b"+OK\r\n"
    for member in members:
        told = member.take_until(lambda event: event.type == RESET, "to be told")
        assert told.room == room
    assert members[0].chat.history(room).epoch != epoch
    until(all_here(members), "everybody to be seen again")
    for member in members:
        member.events.clear()
        member.acknowledged.clear()
    crowd.start_speaking()
    everybody_says_more(members)
    account = crowd.settle()
    assert (account.lost, account.duplicates) == ([], [])
    assert same_order(members)
    assert all_agree(cluster, crowd, room)


def test_a_node_that_hangs_for_too_long_comes_back(cluster: Cluster, crowd: Crowd, room: str) -> None:
    node = cluster.nodes[1]
    members = crowd.fill(room, each=2)
    away, here = crowd.on(node), crowd.others(node)
    before = [member.chat.session for member in members]
    crowd.start_speaking()
    everybody_says_more(members)

    node.pause()
    left = {member.name: 1 for member in here}
    until(lambda: all(sessions(member) == left for member in here), "the node's people to leave")
    everybody_says_more(here)
    node.resume()
    everybody_says_more(members)
    until(all_here(members), "the node's people to be seen again")

    account = crowd.settle()
    assert (account.lost, account.duplicates) == ([], [])
    assert not [member for member in members if member.troubles]
    assert same_order(members)
    assert all_agree(cluster, crowd, room)
    assert [member.chat.session for member in members] == before, "connections stay"
    for member in here:
        comings = [it.type for it in member.events if it.nickname in {one.name for one in away}]
        assert comings.count("leave") == len(away)


def restart(node: Node) -> None:
    assert node.stop() == 0
    node.start()


def test_all_nodes_are_restarted_one_by_one_under_load(cluster: Cluster, crowd: Crowd, room: str) -> None:
    for number in range(50):
        crowd.enter(room, f"p{number}")
    crowd.start_speaking(pause=0.4)
    everybody_says_more(crowd.members, 1)
    for node in cluster.nodes:
        restart(node)
        everybody_says_more(crowd.members, 1)
    account = crowd.settle()
    assert (account.lost, account.duplicates) == ([], [])
    assert account.acknowledged > 200
    assert not [member for member in crowd.members if member.troubles]
    assert same_order(crowd.members)
