"""Tests of the people whom one node has in a room."""

from __future__ import annotations

from threadchat.chat.log.events import ADD, JOIN, LEAVE, REMOVE
from threadchat.chat.presence import Occupant, People


def test_the_first_session_is_a_join_and_the_last_a_leave() -> None:
    people = People()
    assert people.enter(1, "a", "ann") == JOIN
    assert people.enter(1, "b", "anna", "about me") == ADD
    assert people.enter(1, "a", "x") is None, "it is here already"
    assert people.enter("1", "a", "bob") == JOIN, '"1" is somebody else'
    assert len(people) == 2
    assert people.who() == [
        Occupant(1, "anna", frozenset("ab"), "about me"),
        Occupant("1", "bob", frozenset("a")),
    ]
    assert people.leave(1, "a") == (REMOVE, Occupant(1, "anna", frozenset("ab"), "about me"))
    assert people.leave(1, "a") is None
    kind, occupant = people.leave(1, "b") or ("", None)
    assert (kind, occupant and occupant.sessions) == (LEAVE, frozenset("b"))
    assert people.leave(2, "a") is None
    assert len(people) == 1


def test_who_is_here_may_be_asked_and_renamed() -> None:
    people = People()
    people.enter(1, "a", "ann", "old")
    assert people.has(1, "a")
    assert not people.has(1, "b")
    assert not people.has(2, "a")
    assert not people.has(None, "a")
    assert people.rename(1, "anna", "new") == "ann"
    assert people.rename(2, "bob") is None
    assert people.who() == [Occupant(1, "anna", frozenset("a"), "new")]
