"""What a node over Redis finds again by looking, and the edges of what Redis keeps."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from functools import partial

import pytest

from tests.broker.redis_server import why_not

if reason := why_not():
    pytest.skip(reason, allow_module_level=True)

from tests.broker.nodes import Cluster, broker_of, level, persist
from tests.chat.helpers import PATIENCE, Ticket, join, run, say
from tests.e2e.process import until
from threadchat.broker.redis import room_publishing
from threadchat.broker.redis.log import Change, RoomLog, changes_of
from threadchat.chat.hub import Hub
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import DELETE, Draft, Position
from threadchat.errors import CommandError, ErrorCode


def test_what_is_held_is_delivered_though_no_worker_could_be_had_for_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = cluster.hub(), cluster.hub()
    room = second.room("r")
    ticket, refused = Ticket(), threading.Event()
    room.fanout._gate = Gate([ticket])

    def refuse(work: Callable[[], None]) -> bool:
        refused.set()
        return False

    with monkeypatch.context() as patch:
        patch.setattr(broker_of(second).worker_pool, "submit", refuse)
        first.publish("r", say("last"))
        assert refused.wait(PATIENCE)
        ticket.let_pass()
    broker_of(second).heartbeat.inspect()
    until(lambda: room.fanout.head.offset == 1, "it is delivered after a look")


def test_a_failure_while_a_room_catches_up_is_not_the_end_of_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = cluster.hub(), cluster.hub()
    room = second.room("r")
    channel = next(iter(broker_of(second).open_rooms()))
    failed: list[int] = []
    fill = channel._fill

    def fail_once() -> None:
        if not failed:
            failed.append(1)
            raise ZeroDivisionError
        fill()

    monkeypatch.setattr(channel, "_fill", fail_once)
    [registration] = broker_of(second).subscriber._registrations[channel.log.names.channel.encode()]
    registration.receive = lambda payloads: None
    first.publish("r", say("lost on the way"))
    broker_of(second).heartbeat.inspect()
    until(lambda: failed and not channel._lagging, "it failed")
    broker_of(second).heartbeat.inspect()
    until(lambda: room.fanout.head.offset == 1, "the next look finds it")


def test_the_bytes_of_a_log_are_those_of_its_events(cluster: Cluster) -> None:
    """Also where more come at once than the log keeps, and where some of them were changed."""
    hub = cluster.hub(history_size=300)
    names = broker_of(hub).names.room("r")
    for _ in range(4):
        hub.publish("r", say(*["x" * 100] * 256))
        head = hub.room("r").fanout.head.offset
        hub.edit("r", head, "y" * 500)
        hub.react("r", head, "\N{GAME DIE}", user=1)
        hub.delete("r", head - 1)
        with cluster.server.client() as client:
            bodies = [entry[b"e"] for _, entry in client.xrange(names.keys.log)]
            bodies += [kept.partition(b" ")[2] for kept in client.hgetall(names.keys.deleted).values()]
            assert int(client.hget(names.keys.meta, "bytes")) == sum(map(len, bodies))
            assert len(bodies) <= 300


def test_nodes_that_change_a_message_at_the_same_time_lose_nothing(cluster: Cluster) -> None:
    hubs = [cluster.hub() for _ in range(3)]
    hubs[0].publish("r", say("a"))
    rooms = [hub.room("r") for hub in hubs]
    barrier = threading.Barrier(len(hubs))

    def work(node: int) -> None:
        for round_ in range(15):
            barrier.wait(PATIENCE)
            persist(partial(hubs[node].react, "r", 1, "\N{GAME DIE}", user=100 * node + round_))

    join(run(*[lambda node=node: work(node) for node in range(len(hubs))]))
    level(*rooms)
    for room in rooms:
        found = room.fanout.at(1)
        assert found is not None
        assert found.event.reactions is not None
        wanted = sorted(100 * node + round_ for node in range(3) for round_ in range(15))
        assert sorted(found.event.reactions["\N{GAME DIE}"]) == wanted
        assert room.history(Position(0, room.fanout.head.epoch), 1)[0].reactions == found.event.reactions


def test_a_change_that_others_always_forestall_is_refused_for_now(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    hubs = [cluster.hub() for _ in range(2)]
    hubs[0].publish("r", say("a"))
    room = hubs[0].room("r")
    numbers = itertools.count()

    def forestalled(log: RoomLog, draft: Draft, epoch: str) -> list[Change] | None:
        found = changes_of(log, draft, epoch)
        if log is room.channel.log:
            hubs[1].react("r", 1, "\N{GAME DIE}", user=1000 + next(numbers))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(room_publishing, "changes_of", forestalled)
        with pytest.raises(CommandError) as refused:
            hubs[0].edit("r", 1, "b")
    assert refused.value.code == ErrorCode.TOO_MANY_REQUESTS
    assert refused.value.temporary
    assert hubs[0].edit("r", 1, "b").offset > room_publishing.ATTEMPTS


def test_the_newest_event_is_kept_however_large_it_is(cluster: Cluster) -> None:
    """All before it are deleted, so that it alone is more than may be kept."""
    hub = Hub(cluster.broker(history_bytes=1000))
    room = hub.room("r")
    for offset in range(1, 4):
        room.publish(say("a"))
        position = room.fanout.head
        room.publish([Draft(DELETE, 1, target=position)])
        assert position.offset == offset * 2 - 1
    room.publish(say("x" * 3000))
    assert [item.event.id for item in room.history().records][-1:] == [7]
    hub.close()


def test_a_rooms_own_listener_goes_on_with_a_new_log(cluster: Cluster) -> None:
    hub = cluster.hub()
    room = hub.room("r")
    seen: list[str] = []
    room.attach_listener(lambda event: seen.append(event.message))
    room.publish(say("a"))
    until(lambda: seen == ["a"], "it hears")
    cluster.server.flush()
    room.publish(say("b"))
    until(lambda: seen == ["a", "b"], "the new log, too")
    assert room.idle_for() == 0, "and keeps the room open"
