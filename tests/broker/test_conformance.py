"""What every broker does alike: offsets, keys, pages, order, the end of a room, and user ids."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import msgspec
import pytest

from tests.broker.brokers import Kind, Make, Opened, opened
from tests.chat.helpers import PATIENCE, Clock, Ticket, ids_of, join, run, say
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import CLOSE, DELETE, MESSAGE, Draft, Event, Position
from threadchat.chat.log.sequencer import KEY_TTL, MAX_HISTORY_BYTES, Page
from threadchat.chat.room import Room
from threadchat.errors import CommandError, ErrorCode, RoomClosed


@pytest.fixture
def room(make: Make) -> Opened:
    """An empty room."""
    return opened(make())


def code_of(function: Any, *args: Any) -> ErrorCode:
    with pytest.raises(CommandError) as caught:
        function(*args)
    return caught.value.code


# -- offsets and epochs ------------------------------------------------------------------------------


def test_offsets_count_from_1(room: Opened) -> None:
    assert room.outlet.head == Position(0, room.epoch)
    assert room.put(*say("a")) == [1]
    assert room.put(*say("b", "c")) == [2, 3]
    assert room.put() == []
    assert room.outlet.wait_for(3) == [1, 2, 3]
    events = [item.event for item in room.channel.history(None, 9, False).records]
    assert [(event.room, event.message) for event in events] == [("r", "a"), ("r", "b"), ("r", "c")]


def test_each_room_counts_by_itself_in_an_epoch_of_its_own(make: Make) -> None:
    broker = make()
    first, second = opened(broker, "r"), opened(broker, "s")
    assert first.publish(*say("a", "b")) == [Position(1, first.epoch), Position(2, first.epoch)]
    assert second.publish(*say("c")) == [Position(1, second.epoch)]
    assert first.epoch != second.epoch
    assert first.outlet.wait_for(2) == [1, 2]
    assert second.outlet.wait_for(1) == [1]


@pytest.mark.parametrize("name", ["#Übung 1", "a\x00b", "{x}", "%", "🜚" * 64, " ", "'; DROP TABLE rooms; --"])
def test_rooms_may_be_called_anything(make: Make, name: str) -> None:
    broker = make()
    room, other = opened(broker, name), opened(broker, name + "x")
    assert room.put(*say("a")) == other.put(*say("b")) == [1]
    room.outlet.wait_for(1)
    assert room.outlet.records[0].event.room == name
    assert [item.event.message for item in room.channel.history(None, 9, False).records] == ["a"]


@pytest.mark.parametrize(
    "draft",
    [
        Draft(MESSAGE, 1, "ann", "grüße, 你好, 🦆🏽‍♀️, \U0010ffff"),
        Draft(MESSAGE, 1, "a\x00n", "\x00 \x1f \x7f \u2028 \ufeff \r\n \\ \" ' {} %s"),
        Draft(MESSAGE, "ann", "", ""),
        Draft("join", None, "", "", "session"),
        Draft(MESSAGE, -5, "x" * 64, "y" * 100_000),
        Draft(MESSAGE, 2**53, "é", "z", "s"),
    ],
    ids=["astral", "control", "empty", "nobody", "long", "full"],
)
def test_an_event_comes_out_as_it_went_in(room: Opened, draft: Draft) -> None:
    room.put(draft)
    room.outlet.wait_for(1)
    [live], [logged] = room.outlet.records, room.channel.history(None, 9, False).records
    assert live == logged
    event = live.event
    given = (draft.type, draft.user, draft.nickname, draft.message, draft.session)
    assert (event.type, event.user, event.nickname, event.message, event.session) == given
    fields = msgspec.json.decode(live.json)
    assert all(fields.values()), "empty fields are left out"
    assert fields["id"] == 1


def test_what_cannot_be_encoded_is_refused_and_takes_no_offset(room: Opened) -> None:
    good = say("a", key="k")[0]
    for bad in (Draft("message", 1, "ann", "\ud800"), Draft("message", object(), "ann", "hi")):  # type: ignore[arg-type]
        with pytest.raises((UnicodeEncodeError, TypeError)):
            room.put(good, bad)
    assert room.put(*say("b")) == [1]
    assert room.put(good) == [2], "its key is not taken for published"
    assert room.outlet.wait_for(2) == [1, 2]


# -- deleting ----------------------------------------------------------------------------------------


def test_a_deleted_message_keeps_its_place_without_its_text(room: Opened) -> None:
    assert room.put(*say("a", 'secret, "quoted" \\', "c")) == [1, 2, 3]
    assert room.put(Draft(DELETE, 9, "mod", target=Position(2, room.epoch)), *say("d")) == [4, 5]
    assert room.outlet.wait_for(5) == [1, 2, 3, 4, 5]
    told = room.outlet.records[3].event
    assert (told.type, told.user, told.nickname, told.target) == (DELETE, 9, "mod", 2)
    page = room.channel.history(None, 9, False)
    assert [(it.event.message, it.event.deleted) for it in page.records] == [
        ("a", False),
        ("", True),
        ("c", False),
        ("", False),
        ("d", False),
    ]
    assert all(b"secret" not in item.json for item in page.records)
    assert [item.event for item in page.records] == [
        msgspec.json.decode(item.json, type=Event) for item in page.records
    ]
    [before] = room.channel.history(Position(3, room.epoch), 1, True).records
    assert (before.event.id, before.event.deleted, before.event.user) == (2, True, "ann")
    room.put(
        Draft(DELETE, 9, "mod", target=Position(3, room.epoch)),
        Draft(DELETE, 9, "mod", target=Position(1, room.epoch)),
    )
    events = [item.event for item in room.channel.history(None, 9, False).records]
    assert [event.id for event in events if event.deleted] == [1, 2, 3]


def test_a_message_that_has_left_the_log_is_deleted_without_a_trace(make: Make) -> None:
    room = opened(make(history_size=3))
    room.put(*say("a", "b", "c", "d", "e"))
    with contextlib.suppress(
        CommandError
    ):  # the others take it, and there is nothing to take the text out of
        room.put(Draft(DELETE, 9, "mod", target=Position(1, room.epoch)))
    room.put(*say("f"))
    assert not any(item.event.deleted for item in room.channel.history(None, 9, False).records)


def test_a_deletion_of_another_logs_message_does_nothing(room: Opened) -> None:
    room.put(*say("a", "b"))
    stale = Draft(DELETE, 9, "mod", target=Position(2, "another"))
    assert code_of(room.put, *say("c", key="k"), stale) == ErrorCode.UNRECOVERABLE_POSITION
    assert room.put(*say("d", key="k")) == [3], "neither its place nor its key was taken"
    assert room.outlet.wait_for(3) == [1, 2, 3]
    assert [it.event.message for it in room.channel.history(None, 9, False).records] == ["a", "b", "d"]


# -- keys --------------------------------------------------------------------------------------------


def test_the_same_key_answers_the_same_offset_and_publishes_nothing(room: Opened) -> None:
    assert room.put(*say("a", key="k")) == [1]
    assert room.put(*say("b")) == [2]
    assert room.put(*say("again", key="k")) == [1]
    drafts = say("c", key="k") + say("d", key="new") + say("e", key="new") + say("f")
    assert room.put(*drafts) == [1, 3, 3, 4]
    assert room.outlet.wait_for(4) == [1, 2, 3, 4]
    assert [item.event.message for item in room.outlet.records] == ["a", "b", "d", "f"]


def test_a_key_is_one_users_in_one_room(make: Make) -> None:
    broker = make()
    room, other = opened(broker, "r"), opened(broker, "s")
    assert room.put(*say("a", user=1, key="k")) == [1]
    assert room.put(*say("a", user=2, key="k")) == [2]
    assert room.put(*say("a", user="1", key="k")) == [3]
    assert room.put(Draft(MESSAGE, None, "", "a", "", "k")) == [4]
    assert other.put(*say("b"), *say("a", user=1, key="k")) == [1, 2]
    assert room.put(*say("a", user=1, key="k")) == [1]


def test_no_key_is_no_key(room: Opened) -> None:
    assert room.put(*say("a")) + room.put(*say("a")) == [1, 2]


def test_keys_are_forgotten_in_time(kind: Kind, make: Make) -> None:
    if not kind.clocked:
        pytest.skip("keeps keys by a clock of its own")
    clock = Clock()
    room = opened(make(clock=clock))
    room.put(*say("a", key="old"))
    clock.now += KEY_TTL / 2
    room.put(*say("a", key="young"))
    clock.now += KEY_TTL / 2 - 1
    assert room.put(*say("a", key="old")) == [1]
    clock.now += 1
    assert room.put(*say("a", key="young")) == [2]
    assert room.put(*say("a", key="old")) == [3]
    clock.now += KEY_TTL - 1
    assert room.put(*say("a", key="old")) == [3], "its time began anew"


def test_a_key_outlives_its_event(make: Make) -> None:
    room = opened(make(history_size=2))
    room.put(*say("a", key="k"))
    room.put(*say("b", "c", "d"))
    assert room.put(*say("a", key="k")) == [1]


def test_one_key_from_eight_threads_is_published_once(room: Opened) -> None:
    together = threading.Barrier(8)
    offsets: list[int] = []

    def publish() -> None:
        together.wait(PATIENCE)
        offsets.extend(room.put(*say("a", key="k")))

    join(run(*[publish] * 8))
    assert offsets == [1] * 8
    assert room.channel.history(None, 9, False).head.offset == 1


# -- the gate ----------------------------------------------------------------------------------------


def test_a_shut_gate_is_handed_back_and_nothing_is_done(room: Opened) -> None:
    room.outlet.gate = gate = Gate([Ticket()])
    assert room.channel.publish(say("a", key="k")) is gate
    assert room.channel.history(None, 9, False).head.offset == 0
    room.outlet.gate = None
    assert room.put(*say("a", key="k")) == [1]


# -- pages -------------------------------------------------------------------------------------------


@pytest.fixture
def aged(make: Make) -> Opened:
    """Ten of twenty events are left: 11 to 20."""
    room = opened(make(history_size=10))
    room.put(*say(*["x"] * 20))
    return room


@pytest.mark.parametrize(
    ("since", "limit", "reverse", "expected"),
    [
        (None, 3, False, [18, 19, 20]),
        (None, 99, False, list(range(11, 21))),
        (None, 3, True, [20, 19, 18]),
        (10, 3, False, [11, 12, 13]),
        (18, 9, False, [19, 20]),
        (20, 9, False, []),
        (21, 3, True, [20, 19, 18]),
        (20, 3, True, [19, 18, 17]),
        (13, 9, True, [12, 11]),
        (11, 9, True, []),
        (None, 0, False, []),
    ],
)
def test_a_page(aged: Opened, since: int | None, limit: int, reverse: bool, expected: list[int]) -> None:
    position = None if since is None else Position(since, aged.epoch)
    page = aged.channel.history(position, limit, reverse)
    assert ids_of(page.records) == expected
    assert page.head == Position(20, aged.epoch)


@pytest.mark.parametrize(
    ("since", "reverse"), [(9, False), (0, False), (-1, False), (21, False), (22, False), (22, True)]
)
def test_a_position_that_the_log_does_not_reach(aged: Opened, since: int, reverse: bool) -> None:
    code = code_of(aged.channel.history, Position(since, aged.epoch), 9, reverse)
    assert code == ErrorCode.UNRECOVERABLE_POSITION


@pytest.mark.parametrize("reverse", [False, True])
def test_a_position_of_another_epoch(aged: Opened, reverse: bool) -> None:
    code = code_of(aged.channel.history, Position(15, "0123456789abcdef"), 9, reverse)
    assert code == ErrorCode.UNRECOVERABLE_POSITION


def test_an_empty_room_has_a_page_too(room: Opened) -> None:
    assert room.channel.history(None, 9, False) == Page([], Position(0, room.epoch))
    assert room.page(0) == room.page(1, reverse=True) == []
    assert code_of(room.channel.history, Position(1, room.epoch), 9, False) == 112


@pytest.mark.parametrize(
    ("since", "reverse", "expected"),
    [
        (None, False, [6, 7, 8, 9, 10]),
        (None, True, [10, 9, 8, 7, 6]),
        (2, False, [3, 4, 5, 6, 7]),
        (10, True, [9, 8, 7, 6, 5]),
    ],
)
def test_a_page_is_bounded_in_bytes(
    room: Opened, since: int | None, reverse: bool, expected: list[int]
) -> None:
    room.put(*say(*["x" * (MAX_HISTORY_BYTES // 5 - 200)] * 10))
    position = None if since is None else Position(since, room.epoch)
    page = room.channel.history(position, 100, reverse)
    assert ids_of(page.records) == expected
    assert sum(len(item.json) for item in page.records) <= MAX_HISTORY_BYTES


def test_one_event_above_the_bound_is_a_page(room: Opened) -> None:
    room.put(*say("a", "x" * MAX_HISTORY_BYTES, "b"))
    assert room.page(1) == [2]


def test_a_page_is_the_callers_own(aged: Opened) -> None:
    aged.channel.history(None, 99, False).records.clear()
    assert len(aged.channel.history(None, 99, False).records) == 10


def test_a_log_is_bounded_in_bytes_but_keeps_the_newest(make: Make) -> None:
    room = opened(make(history_bytes=10_000))
    room.put(*say(*["x" * 3_000] * 5))
    newest = room.page(limit=99)
    assert newest[-1] == 5
    assert 0 < len(newest) < 5
    assert room.put(*say("y" * 20_000)) == [6]
    assert room.page(limit=99) == [6]
    assert code_of(room.channel.history, Position(4, room.epoch), 9, False) == 112
    assert room.page(5) == [6]


def test_pages_stay_whole_while_events_come_in(make: Make) -> None:
    room = opened(make(history_size=50))
    end = threading.Event()

    def publish() -> None:
        while not end.is_set():
            room.put(*say("x"))

    threads = run(publish)
    try:
        for _ in range(100):
            page = room.channel.history(None, 100, False)
            ids = ids_of(page.records)
            assert ids == list(range(page.head.offset - len(ids) + 1, page.head.offset + 1))
    finally:
        end.set()
        join(threads)


# -- many at once --------------------------------------------------------------------------------------


def test_eight_publishers_leave_no_hole_and_no_doubt_about_the_order(make: Make) -> None:
    room = opened(make(history_size=10_000))
    together = threading.Barrier(8)
    answers: list[list[int]] = [[] for _ in range(8)]

    def publish(number: int) -> None:
        together.wait(PATIENCE)
        for index in range(60):
            answers[number] += room.put(*say(*["x"] * (index % 3 + 1), user=number))

    join(run(*(lambda number=number: publish(number) for number in range(8))))
    everything = sorted(offset for mine in answers for offset in mine)
    assert everything == room.outlet.wait_for(len(everything)) == list(range(1, len(everything) + 1))
    assert all(mine == sorted(mine) for mine in answers)
    assert max(room.outlet.calls) <= 25, "what is handed on at once fits an outbox"
    assert room.outlet.told > 0
    logged = room.channel.history(None, 10_000, False).records
    for number, mine in enumerate(answers):
        assert [item.event.id for item in logged if item.event.user == number] == mine


def test_eight_publishers_and_four_subscribers_agree(make: Make) -> None:
    room = Room("r", channel=make().open("r"), request_buffer=2000)
    streams = [room.add(f"reader {number}", "s") for number in range(4)]
    together = threading.Barrier(12)
    seen: list[list[tuple[int, str]]] = [[] for _ in streams]

    def publish(number: int) -> None:
        together.wait(PATIENCE)
        for index in range(50):
            room.message(f"writer {number}", f"{number}-{index}")

    def read(number: int) -> None:
        together.wait(PATIENCE)
        for event in streams[number]:
            seen[number].append((event.id, event.message))

    readers = run(*(lambda number=number: read(number) for number in range(4)))
    join(run(*(lambda number=number: publish(number) for number in range(8))))
    room.close()
    join(readers)
    everything = seen[0]
    assert [offset for offset, _ in everything] == list(range(1, 4 + 400 + 2))
    for number in range(1, 4):
        first = seen[number][0][0]
        assert first <= number + 1, "its own coming, or what was under way then"
        assert seen[number] == everything[first - 1 :]
    for number in range(8):
        mine = [text for _, text in everything if text.startswith(f"{number}-")]
        assert mine == [f"{number}-{index}" for index in range(50)]


def test_a_shut_gate_is_one_rooms(make: Make) -> None:
    broker = make()
    held, free = opened(broker, "held"), opened(broker, "free")
    held.outlet.gate = gate = Gate([Ticket()])
    assert free.put(*say("a")) == [1]
    assert held.channel.publish(say("b")) is gate


def test_rooms_do_not_wait_for_each_other(kind: Kind, make: Make) -> None:
    if not kind.by_publishers:
        pytest.skip("one thread delivers, and no outlet may stall it")
    broker = make()
    slow, quick = opened(broker, "slow"), opened(broker, "quick")
    entered, may_go = threading.Event(), threading.Event()
    deliver = slow.outlet.deliver

    def stall(records: Any) -> None:
        entered.set()
        assert may_go.wait(PATIENCE)
        deliver(records)

    slow.outlet.deliver = stall  # type: ignore[method-assign]
    threads = run(lambda: slow.put(*say("a")))
    try:
        assert entered.wait(PATIENCE)
        assert quick.put(*say("b")) == [1]
        assert quick.page() == [1]
    finally:
        may_go.set()
        join(threads)
    assert slow.outlet.got == [1]


# -- the end -----------------------------------------------------------------------------------------


def test_close_is_the_last_event_and_comes_once(room: Opened) -> None:
    room.put(*say("a"))
    room.channel.close()
    room.outlet.wait_for(2)
    room.channel.close()
    with pytest.raises(RoomClosed, match="room r is closed"):
        room.channel.publish(say("b"))
    assert room.outlet.got == [1, 2]
    last = room.outlet.records[-1].event
    assert (last.type, last.user) == (CLOSE, None)


def test_close_passes_a_shut_gate(room: Opened) -> None:
    gate = Gate([ticket := Ticket()])
    room.outlet.gate = gate
    ticket.let_pass()
    room.channel.close()
    assert room.outlet.wait_for(1) == [1]


def test_a_closed_room_begins_anew(make: Make) -> None:
    broker = make()
    first = opened(broker)
    first.put(*say("a", key="k"))
    first.channel.close()
    first.outlet.wait_for(2)
    second = opened(broker)
    assert second.outlet.head == Position(0, second.epoch)
    assert second.epoch != first.epoch
    assert second.put(*say("b", key="k")) == [1]
    assert [item.event.message for item in second.channel.history(None, 9, False).records] == ["b"]


def test_retire_says_nothing(room: Opened) -> None:
    assert not room.channel.retire(lambda: False)
    room.put(*say("a"))
    room.outlet.wait_for(1)
    assert room.channel.retire(lambda: True)
    assert not room.channel.retire(lambda: True), "again"
    with pytest.raises(RoomClosed):
        room.channel.publish(say("b"))
    room.channel.close()
    assert room.outlet.got == [1]


def test_a_forgotten_room_goes_on_where_the_log_lasts(kind: Kind, make: Make) -> None:
    broker = make()
    first = opened(broker)
    first.put(*say("a", "b", key="k"))
    first.outlet.wait_for(1)
    assert first.channel.retire(lambda: True)
    second = opened(broker)
    if kind.lasting:
        assert second.epoch == first.epoch
        assert second.outlet.head == Position(0, first.epoch)
        assert second.outlet.wait_for(1) == [1], "what was said before comes first"
        assert second.put(*say("c", key="k")) == [1]
        assert second.put(*say("d")) == [2]
    else:
        assert second.epoch != first.epoch
        assert second.outlet.got == []
        assert second.put(*say("d")) == [1]


@pytest.mark.parametrize("attempt", range(10))
def test_nothing_follows_a_close_among_publishers(room: Opened, attempt: int) -> None:
    together = threading.Barrier(4)
    accepted: list[int] = []

    def publish() -> None:
        together.wait(PATIENCE)
        with contextlib.suppress(RoomClosed):
            for _ in range(50):
                accepted.extend(room.put(*say("a")))

    def close() -> None:
        together.wait(PATIENCE)
        room.channel.close()

    join(run(publish, publish, publish, close))
    everything = room.outlet.wait_for(len(accepted) + 1)
    assert everything == list(range(1, len(accepted) + 2))
    assert room.outlet.records[-1].event.type == CLOSE


def test_a_room_that_is_closed_after_its_broker_ends_here_only(kind: Kind, make: Make) -> None:
    broker = make()
    room = opened(broker)
    room.put(*say("a"))
    room.outlet.wait_for(1)
    broker.close()
    room.channel.close()
    assert room.outlet.wait_for(2) == [1, 2]
    assert room.outlet.records[-1].event.type == CLOSE
    with pytest.raises(RoomClosed):
        room.channel.publish(say("b"))
    if kind.lasting:
        again = opened(make())
        assert again.outlet.wait_for(1) == [1], "the next process goes on with it"
        assert again.epoch == room.epoch


# -- ids and keys ------------------------------------------------------------------------------------


def test_user_ids_count_from_one_each_once(make: Make) -> None:
    broker = make()
    barrier = threading.Barrier(8)
    taken: list[int] = []

    def take() -> None:
        barrier.wait(PATIENCE)
        ids = [broker.new_user() for _ in range(200)]
        assert ids == sorted(ids)
        taken.extend(ids)

    join(run(*[take] * 8))
    assert sorted(taken) == list(range(1, 1601))


def test_user_ids_and_the_resume_key_go_on_where_the_log_lasts(kind: Kind, make: Make) -> None:
    first = make()
    key, users = first.resume_key, [first.new_user() for _ in range(3)]
    first.close()
    second = make()
    assert len(key) == 32
    assert users == [1, 2, 3]
    assert (second.resume_key == key) is kind.lasting
    assert second.new_user() == (4 if kind.lasting else 1)


def test_a_broker_may_be_closed_twice(make: Make) -> None:
    broker = make()
    opened(broker).put(*say("a"))
    broker.close()
    broker.close()
