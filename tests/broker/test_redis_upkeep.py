"""What a node over Redis finds again by looking, and the edges of what Redis keeps."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.broker.redis_server import why_not

if reason := why_not():
    pytest.skip(reason, allow_module_level=True)

from tests.broker.nodes import Cluster, broker_of
from tests.chat.helpers import PATIENCE, Ticket, say
from tests.e2e.process import until
from threadchat.chat.hub import Hub
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import DELETE, Draft


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
