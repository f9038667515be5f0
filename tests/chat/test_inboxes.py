"""Inboxes in a hub: how long they last, what they cost, and what nodes pass on to each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from threadchat.broker.memory import MemoryBroker
from threadchat.broker.sqlite import SqliteBroker
from threadchat.chat.emitting import draft_event, passing
from threadchat.chat.hub import Hub
from threadchat.chat.inboxes import InboxRules, passing_event, passing_frame
from threadchat.chat.log.events import inbox_of
from threadchat.errors import CommandError
from threadchat.server.protocol.encoding import typing_text
from threadchat.testing import FakeClock

EVERYBODY = InboxRules(lambda user: True, 256, 1000.0)


def make_hub(clock: FakeClock, **options: object) -> Hub:
    return Hub(
        MemoryBroker(clock=clock),
        schedule=clock.pinger().call_later,
        room_ttl=300,
        inboxes=EVERYBODY,
        clock=clock,
        **options,  # type: ignore[arg-type]
    )


def test_in_memory_an_inbox_outlasts_rooms_and_goes_after_its_own_time() -> None:
    clock = FakeClock()
    hub = make_hub(clock)
    assert hub.find_inbox("ann") is None
    assert hub.emit_to("ann", draft_event("notice", 1)) == (hub.find_inbox("ann").fanout.head, False)  # type: ignore[union-attr]
    hub.room("lobby")
    clock.advance(301)
    assert [room.name for room in hub.rooms()] == [inbox_of("ann")]
    clock.advance(600)
    hub.emit_to("ann", draft_event("notice", 2))
    clock.advance(999)
    assert hub.find_inbox("ann") is not None
    clock.advance(300)
    assert hub.find_inbox("ann") is None
    assert hub.rooms() == []
    hub.close()


def test_the_place_that_an_inbox_had_is_looked_at_as_often_as_a_rooms() -> None:
    """The timer of a place is left to whoever comes next, and must not run for a week by then."""
    clock = FakeClock()
    hub = make_hub(clock, max_rooms=1)
    hub.emit_to("ann", draft_event("notice", 1))
    hub.room("lobby")  # takes the place
    assert hub.find_inbox("ann") is None
    clock.advance(601)
    assert hub.rooms() == []
    hub.close()


def test_inboxes_count_among_the_rooms() -> None:
    clock = FakeClock()
    hub = make_hub(clock, max_rooms=2)
    for name in ("a", "b"):
        hub.room(name).add("bob", "s")
    with pytest.raises(CommandError, match="max_rooms"):
        hub.emit_to("ann", draft_event("notice", 1))
    hub.close()


def test_an_empty_room_goes_before_an_inbox() -> None:
    """Else whoever makes many rooms would empty the inboxes of all who are away."""
    hub = make_hub(FakeClock(), max_rooms=3)
    hub.emit_to("ann", draft_event("notice", 1))
    for number in range(10):
        hub.room(f"room {number}")
    assert hub.find_inbox("ann") is not None
    for user in ("bob", "cy"):
        hub.emit_to(user, draft_event("notice", 1))
    hub.emit_to("dan", draft_event("notice", 1))
    assert len(hub.rooms()) == 3
    assert hub.find_inbox("dan") is not None
    hub.close()


def test_what_is_too_old_leaves_an_inbox_in_a_file(tmp_path: Path) -> None:
    now = [1000.0]

    def open_hub() -> tuple[SqliteBroker, Hub]:
        broker = SqliteBroker(tmp_path / "chat.db", inbox_age=60, clock=lambda: now[0])
        return broker, Hub(broker, inboxes=EVERYBODY)

    broker, hub = open_hub()
    hub.emit_to("ann", draft_event("notice", 1))
    hub.publish("lobby", [draft_event("e", 1)])
    now[0] += 50
    hub.emit_to("ann", draft_event("notice", 2))
    now[0] += 20
    for _ in range(2):
        inbox = hub.find_inbox("ann")
        assert inbox is not None
        assert [event.data for event in inbox.history()] == [2]
        assert [event.data for event in hub.find("lobby").history()] == [1], "rooms have an age of their own"
        hub.close()
        broker, hub = open_hub()
    now[0] += 41
    with broker.writer.database:
        list(broker._sweep(broker.writer.database))
    assert not broker.exists(inbox_of("ann"))
    assert broker.exists("lobby")
    hub.close()


def test_what_is_passed_on_is_a_frame_that_older_nodes_hand_on_as_it_is() -> None:
    told = passing(draft_event("progress", {"type": "typing"}), "r", 7)
    found = passing_event(passing_frame(told))
    assert found == told
    large = passing(draft_event("progress", "x" * 100_000), "r", 7)
    assert passing_event(passing_frame(large)) == large
    assert passing_event(typing_text("r", 7, "ann").frame) is None


def test_in_memory_an_inbox_keeps_as_many_events_as_its_rules_say() -> None:
    hub = Hub(MemoryBroker(), history_size=9, inboxes=EVERYBODY._replace(size=3))
    for number in range(9):
        hub.emit_to("ann", draft_event("notice", number))
        hub.publish("lobby", [draft_event("e", number)])
    inbox = hub.find_inbox("ann")
    assert inbox is not None
    assert [event.data for event in inbox.history()] == [6, 7, 8]
    assert len(hub.find("lobby").history()) == 9
    hub.close()
