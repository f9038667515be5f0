"""Tests of a Redis that fails over: Sentinel names another master, and what had no replica is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.broker.redis_server import why_not

if reason := why_not():
    pytest.skip(reason, allow_module_level=True)

from tests.broker.nodes import Cluster, broker_of, level, no_socket_left, persist
from tests.broker.redis_sentinel import SERVICE, Service
from tests.broker.test_redis_faults import channel_of, listen
from tests.broker.test_redis_losses import connecting_later, recovers, texts
from tests.chat.helpers import PATIENCE, RecordingSink, ids_of, join, run, say
from tests.e2e.process import until
from threadchat import Publisher
from threadchat.broker.redis import RedisBroker
from threadchat.broker.redis.connection import RedisConnection
from threadchat.broker.redis.publish_pipeline import Publication
from threadchat.chat.hub import Hub
from threadchat.chat.log.events import Position
from threadchat.chat.presence import Occupant
from threadchat.errors import CommandError, ConfigError, ErrorCode


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    yield service
    service.close()


@pytest.fixture
def cluster(service: Service) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(service, stack)  # type: ignore[arg-type]


def fail_over(service: Service, *away: Hub, kill: bool = True, first: Callable[[], Any] = int) -> Any:
    """Another server becomes the master; `first` acts before nodes that are `away` are connected to it."""
    with connecting_later(*away):
        service.fail_over(kill=kill)
        for hub in away:
            broker_of(hub).subscriber.reset()
        result = first()
    for hub in away:
        until(lambda hub=hub: broker_of(hub).ready, "the node is back")
    return result


def speak_early(hub: Hub, text: str) -> Position:
    """Publishes as a node does that has lost its connection but was asked a moment too early to know."""
    broker, channel = broker_of(hub), channel_of(hub, "r")
    names = broker.names.room("r")
    publication = Publication(names, "r", say(text), channel._buffer.newest)
    [[epoch, offsets]] = broker.connection.execute(broker.pipeline._command([publication]))
    return Position(offsets[0], epoch.decode())


def test_a_busy_machine_does_not_keep_the_sentinel_from_a_failover(service: Service) -> None:
    """It never promotes a replica that was apart from its master for ten times `down-after`, nor anything for
    `tilt-period` after it did not run for two seconds. It gives up after `failover-timeout`.
    """
    with service.sentinel() as client:
        master = client.sentinel_master(SERVICE)
        debug = client.execute_command("SENTINEL", "DEBUG")
    limits = debug if isinstance(debug, dict) else dict(zip(debug[::2], debug[1::2], strict=True))
    assert int(limits["TILT-PERIOD"]) < 1000 * PATIENCE
    assert min(10 * master["down-after-milliseconds"], master["failover-timeout"]) > 1000 * PATIENCE


KEPT = [f"kept {number}" for number in range(6)]
SPEAKERS = ["a stranger", "who had all", "who missed the last", "who had none of the lost"]


def begin(service: Service, hubs: list[Hub]) -> tuple[RecordingSink, Position]:
    """Six messages that both servers have and five that one has. The first node hears all, the second four of
    the five, the third none of them; the fourth has not opened the room. Returns a subscriber of the first,
    and the last place.
    """
    sink = RecordingSink()
    hubs[0].room("r").subscribe(sink, ids_of, name="test").start()
    rooms = [hub.room("r") for hub in hubs[:3]]
    rooms[0].publish(say(*KEPT))
    level(*rooms)
    with service.client() as client:
        assert client.wait(1, 5000) == 1
    deaf_to(hubs[1], b"lost 4")
    deaf_to(hubs[2], b"lost")
    with service.without_replicas():
        places = [rooms[0].publish(say(f"lost {number}"))[0] for number in range(5)]
        sink.wait_for(lambda sink: sink.got == list(range(1, 12)))
        service.server.kill()
    return sink, places[-1]


def deaf_to(hub: Hub, word: bytes) -> None:
    channel = channel_of(hub, "r")
    [registration] = broker_of(hub).subscriber._registrations[channel.log.names.channel.encode()]
    registration.receive = lambda payloads: channel.receive([each for each in payloads if word not in each])


@pytest.mark.parametrize("words", [1, 5, 8])
@pytest.mark.parametrize("speaker", range(4), ids=SPEAKERS[1:] + SPEAKERS[:1])
def test_unreplicated_messages_end_the_epoch_whoever_speaks_first(
    service: Service, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, speaker: int, words: int
) -> None:
    monkeypatch.setattr("threadchat.broker.redis.heartbeat.INSPECT", 1e9)
    hubs = [cluster.hub() for _ in range(4)]
    with connecting_later(*hubs):
        sink, last = begin(service, hubs)
        service.fail_over(kill=True)
        said = [f"new {number}" for number in range(words)]
        if speaker < 3:
            places = [persist(lambda text=text: speak_early(hubs[speaker], text)) for text in said]
        else:
            with Publisher(service.url) as publisher:
                publisher._redis._names = broker_of(hubs[3]).names
                places = [persist(lambda text=text: publisher.publish("r", text)) for text in said]
    assert [place.offset for place in places] == list(range(7, 7 + words)), "what the replica had stays"
    assert {place.epoch for place in places}.isdisjoint({last.epoch})
    until(lambda: all(broker_of(hub).ready for hub in hubs), "all nodes are back")
    until(lambda: sink.fell_behind == 1, "whoever received the lost ones is told")
    rooms = [persist(lambda hub=hub: hub.room("r")) for hub in hubs]
    level(*rooms)
    for room in rooms:
        assert texts(room) == KEPT + said
        assert recovers(room, last) is recovers(room, last._replace(offset=7)) is False
        assert recovers(room, places[0])


def test_a_master_that_is_replaced_while_it_lives_ends_the_epoch(service: Service, cluster: Cluster) -> None:
    """It goes on as a replica, so the nodes' connections stay and get the answer that it takes no writes."""
    hubs = [cluster.hub(), cluster.hub()]
    rooms = [hub.room("r") for hub in hubs]
    before = rooms[0].publish(say("kept"))[0]
    with service.client() as client:
        assert client.wait(1, 5000) == 1
    with service.without_replicas():
        rooms[0].publish(say("lost"))
        level(*rooms)
        service.fail_over(kill=False)
    place = persist(lambda: hubs[1].publish("r", say("new"))[0])
    assert (place.offset, place.epoch == before.epoch) == (2, False)
    until(lambda: {room.fanout.head for room in rooms} == {place}, "both have the new log")
    assert texts(rooms[0]) == texts(rooms[1]) == ["kept", "new"]


def test_a_master_that_comes_back_without_what_it_had_ends_the_epoch(
    service: Service, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody uses the room in between, so the log was last used by the server that has it now."""
    monkeypatch.setattr("threadchat.broker.redis.heartbeat.INSPECT", 1e9)
    hub = cluster.hub()
    first = hub.room("r").publish(say("kept"))[0]
    with service.client() as client:
        assert client.wait(1, 5000) == 1
    old = service.server
    with service.without_replicas():
        last = hub.room("r").publish(say("lost"))[0]
        hub.close()
        service.fail_over(kill=False)
    service.fail_over(kill=False)
    assert service.server is old
    later = cluster.hub()
    place = persist(lambda: later.publish("r", say("new"))[0])
    assert (place.offset, place.epoch == first.epoch) == (2, False)
    assert recovers(later.room("r"), last) is False


def test_clients_see_temporary_errors_at_most_and_what_has_a_replica_is_there_once(
    service: Service, cluster: Cluster
) -> None:
    hubs = [cluster.hub(wait_replicas=1) for _ in range(2)]
    for hub in hubs:
        hub.room("r")
    acknowledged: list[tuple[int, str]] = []
    halves = threading.Semaphore(0)

    def speak(hub: Hub, name: str) -> None:
        for number in range(30):
            text = f"{name}{number}"
            place = persist(lambda text=text: hub.room("r").message(name, text, key=text))
            assert place is not None
            acknowledged.append((place.offset, text))
            if number == 15:
                halves.release()

    threads = run(*[lambda i=i: speak(hubs[i % 2], "abcd"[i]) for i in range(4)])
    assert halves.acquire(timeout=PATIENCE)
    service.fail_over(kill=True)
    service.add_replica()
    join(threads)
    found = [item.event for item in persist(lambda: hubs[0].room("r").history(None, 1000)).records]
    assert [event.id for event in found] == list(range(1, len(found) + 1))
    log = [(event.id, event.message) for event in found]
    assert len({text for _, text in log}) == len(log) == len(acknowledged) == 120, "each once"
    assert set(acknowledged) == set(log)


def test_people_and_ids_are_there_after_a_failover(service: Service, cluster: Cluster) -> None:
    hubs = [cluster.hub(), cluster.hub()]
    hubs[0].room("r").enter(1, "a", "ann")
    given = {broker_of(hub).new_user() for hub in hubs for _ in range(3)}
    stream = listen(hubs[1].room("s"))
    fail_over(service, *hubs)
    assert persist(broker_of(hubs[1]).new_user) > max(given)
    until(
        lambda: persist(hubs[1].room("r").who) == [Occupant(1, "ann", frozenset("a"))],
        "who is there is known",
    )
    stream.close()


# -- replicas that have to confirm -------------------------------------------------------------------


def test_a_message_that_no_replica_confirms_is_not_acknowledged_until_one_does(
    service: Service, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = cluster.hub(wait_replicas=1)
    room = hub.room("r")
    assert room.message(1, "hi", key="a") == (1, room.fanout.head.epoch)
    monkeypatch.setattr("threadchat.broker.redis.topology.pool.CONFIRMATION", 0.05)
    with service.without_replicas():
        for _ in range(2):
            with pytest.raises(CommandError, match="0 of 1 replicas") as raised:
                room.message(1, "hello", key="b")
            assert (raised.value.code, raised.value.temporary) == (ErrorCode.INTERNAL, True)
        assert broker_of(hub).ready, "Redis is not away"
        assert texts(room) == ["hi", "hello"], "it may be there all the same"
    monkeypatch.undo()
    until(lambda: says_it(room, "hello", "b") == 2, "it is acknowledged where it was")
    assert texts(room) == ["hi", "hello"]


def says_it(room: Any, text: str, key: str) -> int:
    try:
        return int(room.message(1, text, key=key).offset)
    except CommandError:
        return 0


def test_a_publisher_waits_for_replicas_too(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    with Publisher(service.url, wait_replicas=1) as publisher:
        assert publisher.publish("r", "hi").offset == 1
        monkeypatch.setattr("threadchat.broker.redis.topology.pool.CONFIRMATION", 0.05)
        with service.without_replicas(), pytest.raises(CommandError, match="0 of 1 replicas"):
            publisher.publish("r", "hello")


def test_only_publications_wait_for_replicas(service: Service, cluster: Cluster) -> None:
    hub = cluster.hub(wait_replicas=2)
    room = hub.room("r")
    room.enter(1, "a", "ann")
    assert [occupant.user for occupant in room.who()] == [1]
    with pytest.raises(CommandError, match="1 of 2 replicas"):
        room.message(1, "hi")


# -- the URL -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("redis-sentinel://h:1", "the name of the service is missing"),
        ("redis-sentinel://h:1/", "the name of the service is missing"),
        ("redis-sentinel://h:1/a/b", "the name of the service is missing"),
        ("redis-sentinel:///chat", "a host is missing"),
        ("redis-sentinel://h:1,/chat", "a host is missing"),
        ("redis-sentinel://h:x/chat", "Port could not be cast"),
        ("redis-sentinel://u:secret@h:x/chat", "percent-encode"),
        ("redis-sentinel://h/chat?protocol=3", "protocol cannot be set"),
        ("redis-sentinel://h/chat?nonsense=3", "not one of redis-py's"),
    ],
)
def test_a_url_that_cannot_work_is_refused(url: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as raised:
        RedisConnection(url)
    assert "secret" not in str(raised.value)


def test_no_connection_is_left_open(service: Service) -> None:
    topology = RedisConnection(service.url).topology
    with no_socket_left():
        topology.send([("PING",)])
        topology.disconnect()


def test_no_sentinel_is_as_no_redis() -> None:
    broker = RedisBroker("redis-sentinel://127.0.0.1:1/chat")
    with pytest.raises(CommandError) as raised:
        broker.connection.execute(("PING",))
    assert str(raised.value).endswith("no Sentinel knows a master of 'chat'")
    broker.close()


def test_master_and_sentinel_may_want_passwords(service: Service) -> None:
    with service.client() as client, service.sentinel() as sentinel:
        client.execute_command("ACL", "SETUSER", "chat", "on", ">se/cret", "~*", "&*", "+@all")
        sentinel.execute_command("ACL", "SETUSER", "seer", "on", ">hidden", "~*", "&*", "+@all")
    rest = service.url.partition("://")[2]
    logins = "sentinel_username=seer&sentinel_password={}&db=3"
    for password, works in (("hidden", True), ("wrong", False)):
        url = f"redis-sentinel://chat:se%2Fcret@{rest}?{logins.format(password)}"
        connection = RedisConnection(url)
        try:
            [who, client_info] = connection.execute(("ACL", "WHOAMI"), ("CLIENT", "INFO"))
            assert (who, b" db=3 " in client_info, works) == (b"chat", True, True)
        except CommandError:
            assert not works
        connection.close()
