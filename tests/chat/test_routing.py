"""Tests of the two routings: one suite for both, then what only the router has to prove."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from tests.chat.helpers import PATIENCE, RecordingSink, Tickets, ids_of, join, run, say
from tests.server.session_helpers import until
from tests.wire.helpers import short_of_threads, switching
from threadchat.chat.room import Room
from threadchat.chat.routing import Counted, Directory, Router, Routing, make_routing
from threadchat.errors import CommandError, ErrorCode, RoomClosed
from threadchat.wire.outbox import Answer


@pytest.fixture(params=["directory", "router"])
def routing(request: pytest.FixtureRequest) -> Iterator[Routing]:
    routing = make_routing(request.param, 1024, PATIENCE)
    yield routing
    routing.close()


@pytest.fixture
def router() -> Iterator[Router]:
    router = Router(1024, PATIENCE)
    yield router
    router.close()


def listen(room: Room, answer: Answer = Answer.YES) -> RecordingSink:
    """A live subscriber of a room."""
    sink = RecordingSink(answer, Tickets())
    room.subscribe(sink, ids_of).start()
    return sink


def publish(routing: Routing, room: Room, *texts: str, user: str = "ann") -> list[int]:
    return [position.offset for position in routing.publish(room, say(*texts, user=user))]


# -- both --------------------------------------------------------------------------------------------


def test_the_names_make_the_routings() -> None:
    assert isinstance(make_routing("directory", 1, 1), Directory)
    assert isinstance(make_routing("router", 1, 1), Router)


def test_a_publication_returns_its_places_once_everybody_has_it(routing: Routing) -> None:
    room = Room("r")
    sink = listen(room)
    for i in range(100):
        assert publish(routing, room, "a", "b") == [2 * i + 1, 2 * i + 2]
        assert sink.got[-2:] == [2 * i + 1, 2 * i + 2]
    assert sink.got == list(range(1, 201))


def test_eight_publishers_keep_their_order(routing: Routing) -> None:
    room = Room("r")
    sink = listen(room)
    places: dict[str, list[int]] = {}

    def talk(user: str) -> Callable[[], None]:
        def body() -> None:
            places[user] = [publish(routing, room, str(i), user=user)[0] for i in range(100)]

        return body

    with switching():
        join(run(*[talk(str(number)) for number in range(8)]))
    assert sink.got == list(range(1, 801))
    assert sorted(place for own in places.values() for place in own) == list(range(1, 801))
    for user, own in places.items():
        assert own == sorted(own)
        page = room.history(limit=800).records
        assert [item.event.message for item in page if item.event.user == user] == [
            str(i) for i in range(100)
        ]


def test_a_publisher_waits_at_the_gate_and_no_other_room_does(routing: Routing) -> None:
    room, other = Room("r", send_timeout=PATIENCE), Room("other")
    sink = listen(room, Answer.HIGH)
    assert publish(routing, room, "a") == [1]
    sink.answer = Answer.YES
    (ticket,) = sink.line.given
    second: list[int] = []
    threads = run(lambda: second.extend(publish(routing, room, "b")))
    assert ticket.waiting.acquire(timeout=PATIENCE)
    for i in range(20):
        assert publish(routing, other, "c") == [i + 1]
    assert routing.direct(lambda: True)
    assert second == []
    ticket.let_pass()
    join(threads)
    assert second == [2]


def test_several_publishers_wait_at_one_gate(routing: Routing) -> None:
    room = Room("r", send_timeout=PATIENCE)
    sink = listen(room, Answer.HIGH)
    publish(routing, room, "a")
    sink.answer = Answer.YES
    (ticket,) = sink.line.given
    threads = run(*[lambda: publish(routing, room, "b")] * 4)
    for _ in threads:
        assert ticket.waiting.acquire(timeout=PATIENCE)
    ticket.let_pass()
    join(threads)
    assert sink.got == [1, 2, 3, 4, 5]


def test_a_direct_message_runs_what_it_is_given(routing: Routing) -> None:
    assert routing.direct(lambda: True) is True
    assert routing.direct(lambda: False) is False


def test_what_fails_fails_for_its_caller_alone(routing: Routing) -> None:
    with pytest.raises(ZeroDivisionError):
        routing.direct(lambda: bool(1 // 0))
    room = Room("r")
    room.close()
    with pytest.raises(RoomClosed):
        publish(routing, room, "a")
    assert routing.direct(lambda: True)


def test_a_room_closes_while_many_publish(routing: Routing) -> None:
    room = Room("r")
    sink = listen(room)
    started = threading.Barrier(5)
    accepted: list[int] = []

    def talk() -> None:
        started.wait(PATIENCE)
        try:
            for i in range(1000):
                accepted.extend(publish(routing, room, str(i)))
        except RoomClosed:
            pass

    threads = run(*[talk] * 4)
    started.wait(PATIENCE)
    room.close()
    join(threads)
    assert sink.got == [*sorted(accepted), len(accepted) + 1]


def test_closing_twice_is_once(routing: Routing) -> None:
    publish(routing, Room("r"), "a")
    routing.close()
    routing.close()


# -- the router --------------------------------------------------------------------------------------


def test_one_thread_offers_and_it_starts_with_the_first_request(router: Router) -> None:
    assert not router._thread.is_alive()
    names: list[str] = []

    def note() -> bool:
        names.append(threading.current_thread().name)
        return True

    join(run(*[lambda: router.direct(note)] * 8))
    assert names == ["router"] * 8


def test_threads_that_run_short_take_no_places_away() -> None:
    """One failed start for each place, and the next publication has one."""
    router = Router(request_buffer=2, send_timeout=0)
    room = Room("r")
    with short_of_threads("router", times=2):
        for _ in range(2):
            with pytest.raises(RuntimeError, match="can't start new thread"):
                publish(router, room, "lost")
        assert publish(router, room, "a") == [1]
    router.close()


class Stuck:
    """A request that keeps the router busy until the test lets it go."""

    def __init__(self, router: Router) -> None:
        self._begun = threading.Event()
        self._go = threading.Event()
        self.threads = run(lambda: router.direct(self._work))
        assert self._begun.wait(PATIENCE)

    def _work(self) -> bool:
        self._begun.set()
        return self._go.wait(PATIENCE)

    def let_go(self) -> None:
        self._go.set()
        join(self.threads)


def test_a_full_request_buffer_is_too_many_requests() -> None:
    router = Router(request_buffer=2, send_timeout=0)
    room = Room("r")
    stuck = Stuck(router)
    threads = run(*[lambda: publish(router, room, "waits")] * 2)
    until(lambda: router._requests.qsize() == 2)
    with pytest.raises(CommandError, match="request buffer is full") as raised:
        publish(router, room, "too much")
    assert raised.value.code is ErrorCode.TOO_MANY_REQUESTS
    assert raised.value.temporary
    stuck.let_go()
    join(threads)
    assert publish(router, room, "now there is room") == [3]
    router.close()


def test_what_waits_at_the_end_is_done_and_what_comes_later_is_refused() -> None:
    router = Router(16, PATIENCE)
    room = Room("r")
    stuck = Stuck(router)
    places: list[int] = []
    waiting = run(*[lambda: places.extend(publish(router, room, "a"))] * 4)
    until(lambda: router._requests.qsize() == 4)
    closing = run(router.close)
    until(lambda: router._closed)
    with pytest.raises(RoomClosed):
        publish(router, room, "late")
    with pytest.raises(RoomClosed):
        router.direct(lambda: True)
    stuck.let_go()
    join([*waiting, *closing])
    assert sorted(places) == [1, 2, 3, 4]
    assert not router._thread.is_alive()


def test_a_router_that_never_ran_refuses_once_closed() -> None:
    router = Router()
    router.close()
    with pytest.raises(RoomClosed):
        publish(router, Room("r"), "a")


def test_who_waits_for_a_place_in_the_buffer_is_answered_at_the_end() -> None:
    router = Router(1, PATIENCE)
    stuck = Stuck(router)
    outcomes: list[str] = []

    def ask() -> None:
        try:
            router.direct(lambda: True)
            outcomes.append("done")
        except RoomClosed:
            outcomes.append("refused")

    threads = run(*[ask] * 6)
    closing = run(router.close)
    until(lambda: router._closed)
    stuck.let_go()
    join([*threads, *closing])
    assert len(outcomes) == 6


def test_nobody_hangs_who_asks_beside_the_end() -> None:
    with switching():
        for _ in range(30):
            router = Router(4, PATIENCE)
            started = threading.Barrier(5)

            def ask(router: Router = router, started: threading.Barrier = started) -> None:
                started.wait(PATIENCE)
                try:
                    for _ in range(50):
                        router.direct(lambda: True)
                except RoomClosed:
                    pass

            threads = run(*[ask] * 4)
            started.wait(PATIENCE)
            router.close()
            join(threads)


# -- counted -----------------------------------------------------------------------------------------


def test_what_went_through_is_counted(routing: Routing) -> None:
    counts: list[int] = []
    counted = Counted(routing, counts.append)
    room = Room("r")
    assert publish(counted, room, "a", "b") == [1, 2]
    assert publish(counted, room, "c") == [3]
    assert counted.direct(lambda: True) is True
    room.close()
    with pytest.raises(RoomClosed):
        publish(counted, room, "d")
    counted.close()
    assert counts == [2, 1]
