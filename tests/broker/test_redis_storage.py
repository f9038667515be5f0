"""What all nodes store in Redis stays within `storage_bytes`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import pytest

from tests.broker.redis_server import why_not

if reason := why_not():
    pytest.skip(reason, allow_module_level=True)

import redis

from tests.broker.brokers import Opened, opened
from tests.broker.nodes import Cluster
from tests.chat.helpers import say
from tests.e2e.process import until
from threadchat.broker.redis import RedisBroker, storage
from threadchat.broker.redis.connection import PAGE
from threadchat.chat.log import storage as budgets
from threadchat.chat.log.events import DELETE, Draft, Position, inbox_of
from threadchat.errors import CommandError, ErrorCode

MOST = 2 << 20
TEXT = "x" * 2_000


@pytest.fixture(autouse=True)
def slow_clock(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Only the tests add up, unless they ask for what `ticking` leaves to the heartbeat."""
    monkeypatch.setattr(storage, "CALM", inf)
    monkeypatch.setattr(budgets, "STEP", 1.0)
    if "ticking" not in request.fixturenames:
        monkeypatch.setattr(storage.RedisStorage, "tick", lambda *_: None)


@pytest.fixture
def ticking() -> None:
    """The heartbeat adds up, too."""


def fill(broker: RedisBroker, name: str, count: int) -> Opened:
    room = opened(broker, name)
    for _ in range(count):
        room.put(*say(TEXT))
    return room


def leave(room: Opened) -> None:
    """Nobody uses the room any more."""
    room.channel.retire(lambda: True)


def age(cluster: Cluster, name: str, seconds: int) -> None:
    """Makes a room's last use that much older."""
    names = f"{cluster.prefix}:{{{name}}}:meta"
    with cluster.server.client() as client:
        expiry = client.hget(names, "expiry")
        assert expiry is not None
        client.hset(names, "expiry", int(float(expiry)) - seconds * 1000)


def left(cluster: Cluster) -> set[str]:
    return {key.split("{")[1].split("}")[0] for key in cluster.stored() if key.endswith("}:meta")}


def test_rooms_that_nobody_uses_go_first_and_the_most_silent_of_them(cluster: Cluster) -> None:
    broker = cluster.broker(storage_bytes=MOST)
    held = fill(broker, "held", 10)
    for number in range(14):
        leave(fill(broker, f"r{number:02}", 50))
        age(cluster, f"r{number:02}", 200 - number)
    broker.storage._sweep(broker.node)
    assert broker.storage.budget.used <= broker.storage.budget.begin
    assert left(cluster) == {"held", *(f"r{number:02}" for number in range(14))}, "all of it fits"
    for number in range(14, 18):
        leave(fill(broker, f"r{number:02}", 25))
    broker.storage._sweep(broker.node)
    assert broker.storage.budget.used <= broker.storage.budget.aim
    names = left(cluster)
    assert {"held", "r16", "r17"} <= names
    gone = {f"r{number:02}" for number in range(18)} - names
    assert gone == {f"r{number:02}" for number in range(len(gone))}
    assert gone
    assert held.page(limit=100) == list(range(1, 11))
    assert {info.name for info in broker.rooms([])} == names


def test_where_all_rooms_are_in_use_the_largest_lose_their_oldest_events(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    broker = cluster.broker(storage_bytes=MOST)
    small = fill(broker, "small", 3)
    large = [fill(broker, f"large{number}", 160) for number in range(5)]
    broker.storage._sweep(broker.node)
    assert small.page() == [1, 2, 3]
    for room in large:
        page = room.page(limit=1000)
        assert (page[0] > 1, page[-1]) == (True, 160)
        assert room.put(*say("more")) == [161]
    before = broker.storage.budget.used
    broker.storage._sweep(broker.node)
    assert abs(broker.storage.budget.used - before) < 5_000, "what was shortened is what is found"
    assert "storage_bytes" in caplog.text


def test_what_it_estimates_is_what_redis_takes(cluster: Cluster) -> None:
    broker = cluster.broker(storage_bytes=MOST * 100)
    with cluster.server.client() as client:
        before = client.info("memory")["used_memory"]
        for number, (size, count) in enumerate(((10, 500), (300, 500), (2_000, 300), (100_000, 10))):
            room = opened(broker, f"r{number}")
            for _ in range(count):
                room.put(*say("x" * size))
        taken = client.info("memory")["used_memory"] - before
    broker.storage._sweep(broker.node)
    assert 0.6 < broker.storage.budget.used / taken < 1.5


def test_what_is_promised_is_not_dropped_but_new_messages_are_refused(cluster: Cluster) -> None:
    broker = cluster.broker(storage_bytes=MOST, history_age=3600)
    rooms = [fill(broker, f"r{number}", 50) for number in range(16)]
    for number, room in enumerate(rooms):
        leave(room)
        age(cluster, f"r{number}", 100)
    broker.storage._sweep(broker.node)
    room = opened(broker, "late")

    def flood() -> None:
        while True:
            room.put(*say(TEXT))

    with pytest.raises(CommandError) as refused:
        flood()
    assert (refused.value.code, refused.value.temporary) == (ErrorCode.LIMIT_EXCEEDED, True)
    broker.storage._sweep(broker.node)
    assert len(left(cluster)) == 17
    assert opened(broker, "r0").page(limit=100) == list(range(1, 51))
    assert room.put(*say("a small one has its place"))


def test_a_moderator_can_delete_where_nothing_else_fits(cluster: Cluster) -> None:
    broker = cluster.broker(storage_bytes=MOST, history_age=3600)
    room = opened(broker)
    room.put(*say("bad"))
    broker.storage.budget.measured(MOST)
    with pytest.raises(CommandError):
        room.put(*say("x"))
    assert room.put(Draft(DELETE, 1, "m", target=Position(1, room.epoch))) == [2]
    room.channel.close()


def test_no_command_reads_or_writes_all_names_at_once(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = cluster.broker(storage_bytes=MOST * 100)
    names = [f"room {number}" for number in range(20 * PAGE)]
    with cluster.server.client() as client:
        for index in (broker.names.rooms, broker.names.inboxes):
            client.zadd(index, dict.fromkeys(names, 0))
            for name in names[::2]:
                client.hset(broker.names.room(name).keys.meta, mapping={"head": 1, "bytes": 1000})
        client.sadd(broker.names.rooms_of("dead"), *names)
    sizes: list[int] = []
    send = broker.connection.topology.send

    def watch(commands: Sequence[Sequence[Any]], replicas: int = 0) -> list[Any]:
        answers = send(commands, replicas)
        for command, answer in zip(commands, answers, strict=True):
            flat = answer[1] if command[0] in ("ZSCAN", "SSCAN") else answer
            sizes.append(max(len(command), len(flat) if isinstance(flat, list) else 1))
        sizes.append(len(commands))
        return answers

    monkeypatch.setattr(broker.connection.topology, "send", watch)
    broker.storage._sweep(broker.node)
    assert broker.storage.budget.used > len(names) * 1000, "each room and each inbox was added up"
    assert len(broker.rooms([])) == len(names) // 2
    broker.heartbeat._remove_node("dead")
    assert max(sizes) <= 4 * PAGE
    with cluster.server.client() as client:
        assert not client.exists(broker.names.rooms_of("dead"))
        assert client.zcard(broker.names.inboxes) == len(names) // 2, (
            "those that are gone are not listed any more"
        )


@pytest.mark.usefixtures("ticking")
def test_inboxes_count_and_stay(cluster: Cluster) -> None:
    broker = cluster.broker(storage_bytes=MOST)
    fill(broker, "room", 250)
    for user in range(12):
        for _ in range(50):
            broker.publish(inbox_of(user), say(TEXT))
    until(lambda: not broker.storage._inboxes, "the inboxes are listed")
    broker.storage._sweep(broker.node)
    assert opened(broker, "room").page(limit=1000)[0] > 50, "the room has made way"
    for user in range(12):
        assert len(opened(broker, inbox_of(user)).page(limit=100)) == 50
    with cluster.server.client() as client:
        for key in cluster.stored():
            if "inbox" in key and key.endswith(":meta"):
                client.delete(key)
        broker.storage._sweep(broker.node)
        assert client.zcard(f"{cluster.prefix}:inboxes") == 0


@pytest.mark.usefixtures("ticking")
def test_every_node_knows_the_sum_and_one_of_them_makes_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums: list[RedisBroker] = []
    nodes = [cluster.broker(storage_bytes=MOST) for _ in range(3)]
    for node in nodes:
        sweep = node.storage._add_up

        def count(name: str, node: RedisBroker = node, sweep: Callable[[str], None] = sweep) -> None:
            sums.append(node)
            sweep(name)

        monkeypatch.setattr(node.storage, "_add_up", count)
    until(lambda: all(node.storage._seen for node in nodes), "all know the first sum")
    sums.clear()
    fill(nodes[0], "r", 100)
    nodes[1].storage._due_at = -inf
    nodes[1].heartbeat.trouble()
    until(lambda: all(node.storage.budget.used > 200_000 for node in nodes), "all know it")
    assert sums == [nodes[1]]


@pytest.mark.usefixtures("ticking")
def test_a_flood_is_noticed_by_the_node_that_lets_it_in(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "STEP", 1 / 64)
    broker = cluster.broker(storage_bytes=MOST)
    largest = 0
    for number in range(30):
        room = opened(broker, f"r{number}")
        for _ in range(100):
            accepts(room)
        leave(room)
        stored = broker.storage._stored(broker.names.rooms)
        largest = max(largest, sum(each.weight for each in stored))
    assert largest <= MOST * 1.05, "the rooms themselves are not counted before there is a sum"
    late = opened(broker, "late")
    until(lambda: accepts(late), "there is room again")


def accepts(room: Opened) -> bool:
    try:
        return bool(room.put(*say(TEXT)))
    except CommandError:
        return False


@pytest.mark.usefixtures("ticking")
def test_a_redis_that_refuses_writes_ends_nothing(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    broker = cluster.broker(storage_bytes=MOST)

    def refuse(*commands: object) -> list[object]:
        error = CommandError(ErrorCode.INTERNAL, "OOM")
        error.__cause__ = redis.ResponseError("OOM")
        raise error

    until(lambda: not broker.storage._adding, "the first sum is made")
    original = broker.storage._connection
    broker.storage._connection = type(  # type: ignore[assignment]
        "Refusing", (), {"execute": staticmethod(refuse), "pages": staticmethod(refuse)}
    )()
    broker.storage.tick(broker.node, broker.worker_pool)
    broker.storage._sweep(broker.node)
    broker.storage._connection = original
    assert broker.connection.ready
    assert "added up later" in caplog.text
    assert opened(broker).put(*say("x")) == [1]
