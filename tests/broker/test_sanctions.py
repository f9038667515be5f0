"""What bans and mutes do alike on every broker, what lasts, and how the nodes of a cluster share them."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.brokers import Kind, Make
from tests.broker.nodes import Cluster, broker_of, clusters
from tests.broker.redis_server import RedisServer
from tests.broker.test_redis import Someone
from tests.e2e.process import until
from threadchat.broker.redis.sanctions import RedisSanctions
from threadchat.broker.sqlite import SqliteBroker
from threadchat.broker.sqlite.schema import SCHEMA
from threadchat.chat.access import sanctions as table
from threadchat.chat.access.sanctions import BAN, MUTE, Sanction
from threadchat.chat.broker_interface import Broker
from threadchat.chat.hub import Hub
from threadchat.errors import CommandError, ErrorCode

FAR = 4_000_000_000
"""Unix time when no test runs any more."""


@pytest.fixture
def cluster(shared_redis: RedisServer) -> Iterator[Cluster]:
    with clusters(shared_redis) as cluster:
        yield cluster


def subjects(broker: Broker) -> list[int | str]:
    return sorted((item.subject for item in broker.sanctions.list()), key=str)


# -- every broker ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sanction",
    [
        Sanction(BAN, 7),
        Sanction(MUTE, -7, "lobby", FAR, "spam, 'grüße' \\ \" \n", 9),
        Sanction(BAN, "192.0.2.0/24", "{x}%", by="api"),
        Sanction(MUTE, "2001:db8::/64", until=FAR),
    ],
    ids=["bare", "full", "network", "ipv6"],
)
def test_one_holds_as_it_was_imposed_until_it_is_lifted(make: Make, sanction: Sanction) -> None:
    sanctions = make().sanctions
    assert sanctions.list() == []
    sanctions.impose(sanction)
    assert sanctions.list() == [sanction]
    assert sanctions.find(sanction.kind, sanction.subject, sanction.room) == sanction
    assert not sanctions.lift(sanction.kind, sanction.subject, sanction.room + "x")
    assert sanctions.lift(*sanction.key)
    assert not sanctions.lift(*sanction.key)
    assert sanctions.list() == []


def test_a_user_and_an_address_of_the_same_letters_are_two(make: Make) -> None:
    sanctions = make().sanctions
    sanctions.impose(Sanction(BAN, 7))
    sanctions.impose(Sanction(BAN, "0.0.0.7"))
    sanctions.impose(Sanction(MUTE, 7))
    sanctions.impose(Sanction(BAN, 7, "lobby"))
    assert len(sanctions.list()) == 4
    assert sanctions.lift(BAN, 7)
    assert len(sanctions.list()) == 3


def test_a_later_one_takes_the_place_of_the_same(make: Make) -> None:
    sanctions = make().sanctions
    sanctions.impose(Sanction(BAN, 7, until=FAR, reason="first"))
    sanctions.impose(Sanction(BAN, 7, reason="second"))
    assert [(item.until, item.reason) for item in sanctions.list()] == [(None, "second")]


def test_one_that_is_over_holds_no_more(make: Make) -> None:
    sanctions = make().sanctions
    sanctions.impose(Sanction(BAN, 7, until=FAR))
    sanctions.clock = lambda: FAR
    assert sanctions.list() == []
    assert sanctions.find(BAN, 7) is None


def test_it_is_carried_out_once(make: Make) -> None:
    hub = Hub(make())
    ann, bob = Someone(7), Someone(8)
    for session in (ann, bob):
        hub.arrive(session)
    hub.sanctions.impose(Sanction(MUTE, 7))
    hub.sanctions.impose(Sanction(BAN, 7, "lobby"))
    hub.sanctions.impose(Sanction(BAN, "192.0.2.7"))
    until(lambda: ann.codes == [3503], "the address's connection ends")
    until(lambda: ann.evicted == [("lobby", "you are banned from room lobby")], "the membership ends")
    assert (bob.codes, bob.evicted) == ([], [])
    for session in (ann, bob):
        hub.depart(session)
    hub.close()


def test_full_is_said_and_what_is_over_goes_first(
    make: Make, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threadchat.broker.redis.sanctions.MOST", 2)
    sanctions = make().sanctions
    sanctions._most = 2
    sanctions.impose(Sanction(BAN, 1))
    sanctions.impose(Sanction(BAN, 2))
    with pytest.raises(CommandError, match="bans and mutes already; lift some") as caught:
        sanctions.impose(Sanction(BAN, 3))
    assert caught.value.code is ErrorCode.LIMIT_EXCEEDED
    sanctions.impose(Sanction(BAN, 2, until=1))  # over long ago, wherever the clock is
    sanctions.impose(Sanction(BAN, 3))
    assert sorted(item.key for item in sanctions.list()) == [(BAN, 1, ""), (BAN, 3, "")]
    assert sorted(sanctions.by_subject) == [1, 3]  # what is over is kept by nobody


# -- what lasts --------------------------------------------------------------------------------------


def test_they_outlast_the_process_where_the_log_does(make: Make, kind: Kind) -> None:
    broker = make()
    kept = [Sanction(BAN, 7, "lobby", FAR, "spam", 9), Sanction(MUTE, "192.0.2.0/24")]
    for sanction in kept:
        broker.sanctions.impose(sanction)
    broker.sanctions.impose(Sanction(BAN, 8))
    broker.sanctions.lift(BAN, 8)
    broker.close()
    after = make().sanctions.list()
    assert sorted(after, key=lambda item: item.kind) == (kept if kind.lasting else [])


def test_a_closed_file_takes_none(tmp_path: Path) -> None:
    broker = SqliteBroker(tmp_path / "chat.db")
    broker.sanctions.impose(Sanction(BAN, 7))
    broker.close()
    with pytest.raises(CommandError, match="the chat is closed"):
        broker.sanctions.impose(Sanction(BAN, 8))
    with pytest.raises(CommandError, match="the chat is closed"):
        broker.sanctions.lift(BAN, 7)
    assert subjects(broker) == [7], "what could not be written does not hold either"


def test_what_is_over_leaves_the_file(tmp_path: Path) -> None:
    broker = SqliteBroker(tmp_path / "chat.db", clock=lambda: 1000.0)
    broker.sanctions.impose(Sanction(BAN, 7, until=1000))
    broker.sanctions.impose(Sanction(BAN, 8, until=1001))
    broker.sanctions.impose(Sanction(BAN, 9))
    broker.close()
    broker.writer.database = sqlite3.connect(broker.path, isolation_level=None)
    while broker.writer.sweep():
        pass
    left = broker.writer.database.execute("SELECT subject FROM sanctions ORDER BY subject").fetchall()
    broker.writer.database.close()
    assert left == [(8,), (9,)]


def test_a_file_of_the_first_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    broker = SqliteBroker(path)
    key, user = broker.resume_key, broker.new_user()
    broker.close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        for table in ("sanctions", "reads", "revocations", "blocks"):
            database.execute(f"DROP TABLE {table}")
        database.execute("PRAGMA user_version = 1")
        database.commit()
    broker = SqliteBroker(path)
    broker.sanctions.impose(Sanction(BAN, 7))
    assert (broker.resume_key, broker.new_user()) == (key, user + 1)
    broker.close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone()[0] == SCHEMA >= 2
    broker = SqliteBroker(path)
    assert subjects(broker) == [7]
    broker.close()


# -- shared by nodes ---------------------------------------------------------------------------------


def test_one_node_imposes_and_all_heed_it(cluster: Cluster) -> None:
    here, there = cluster.hub(), cluster.hub()
    ann, other = Someone(7), Someone(7)
    here.arrive(ann)
    there.arrive(other)
    here.sanctions.impose(Sanction(BAN, 7, "r", reason="spam"))
    assert here.sanctions.find(BAN, 7, "r"), "at once where it was imposed"
    until(lambda: there.sanctions.find(BAN, 7, "r") is not None, "the other node heeds it")
    until(lambda: ann.evicted == other.evicted == [("r", "you are banned from room r: spam")], "both are out")
    there.sanctions.impose(Sanction(BAN, 7))
    until(lambda: ann.codes == other.codes == [3503], "both are gone")
    assert here.sanctions.lift(BAN, 7)
    until(lambda: there.sanctions.find(BAN, 7) is None, "the other node heeds that too")
    assert len(ann.codes) == len(other.codes) == 1


def test_a_kick_ends_memberships_on_every_node_and_tells_how_many(cluster: Cluster) -> None:
    here, there, elsewhere = cluster.hub(), cluster.hub(), cluster.hub()
    sessions = [Someone(7), Someone(7), Someone(7), Someone(8)]
    for hub, session in zip((here, there, there, elsewhere), sessions, strict=True):
        hub.arrive(session)
    assert elsewhere.kick(7, "r", "out") == 3
    assert [session.evicted for session in sessions] == [[("r", "out")]] * 3 + [[]]
    assert here.kick(7, "another", "out") == 0
    assert here.kick(9, "r", "out") == 0


def test_the_addresses_of_a_user_are_known_on_all_nodes(cluster: Cluster) -> None:
    here, there, elsewhere = cluster.hub(), cluster.hub(), cluster.hub()
    first, second = Someone(7), Someone(7)
    second.address = "2001:db8::7"
    here.arrive(first)
    there.arrive(second)
    for hub in (here, there, elsewhere):
        assert hub.addresses(7) == {"192.0.2.7", "2001:db8::7"}
        assert hub.addresses(8) == set()


def test_a_node_that_comes_later_knows_them_before_it_lets_anybody_in(cluster: Cluster) -> None:
    cluster.broker().sanctions.impose(Sanction(BAN, 7))
    late = cluster.broker()
    assert late.sanctions.by_subject, "it is ready, so it has read them"


def test_what_is_over_leaves_redis(cluster: Cluster) -> None:
    broker = cluster.broker()
    broker.sanctions.impose(Sanction(BAN, 7, until=1))
    broker.sanctions.impose(Sanction(BAN, 8, until=FAR))
    with cluster.server.client() as client:
        assert client.hlen(f"{cluster.prefix}:sanctions") == 3, "two, and the version"
        late = cluster.broker()
        assert client.hlen(f"{cluster.prefix}:sanctions") == 2
    assert subjects(late) == [8]


def copy_of(hub: Hub) -> RedisSanctions:
    sanctions = broker_of(hub).sanctions
    assert isinstance(sanctions, RedisSanctions)
    return sanctions


def test_a_change_that_was_missed_is_read_with_the_next_one(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, deaf = cluster.broker(), cluster.hub()
    hear = copy_of(deaf).receive
    registrations = broker_of(deaf).subscriber._registrations[broker_of(deaf).names.sanctions.encode()]
    monkeypatch.setattr(registrations[0], "receive", lambda payloads: None)
    someone = Someone(7)
    deaf.arrive(someone)
    here.sanctions.impose(Sanction(BAN, 7))
    here.sanctions.impose(Sanction(BAN, 8))
    here.sanctions.lift(BAN, 8)
    monkeypatch.setattr(registrations[0], "receive", hear)
    here.sanctions.impose(Sanction(BAN, 9))
    until(lambda: subjects(broker_of(deaf)) == [7, 9], "it reads what it did not hear")
    until(lambda: someone.codes == [3503], "and carries it out")


def test_a_last_change_that_was_missed_is_found_by_looking(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, deaf = cluster.broker(), cluster.hub()
    [registration] = broker_of(deaf).subscriber._registrations[broker_of(deaf).names.sanctions.encode()]
    monkeypatch.setattr(registration, "receive", lambda payloads: None)
    here.sanctions.impose(Sanction(BAN, 7))
    assert deaf.sanctions.find(BAN, 7) is None
    copy_of(deaf).inspect()
    assert deaf.sanctions.find(BAN, 7)
    copy_of(deaf).inspect()
    monkeypatch.setattr(registration, "receive", copy_of(deaf).receive)
    here.sanctions.impose(Sanction(BAN, 8))
    until(lambda: deaf.sanctions.find(BAN, 8) is not None, "it goes on hearing")


def test_what_is_heard_late_does_not_undo_what_was_read(cluster: Cluster) -> None:
    hub = cluster.hub()
    copy = copy_of(hub)
    copy.impose(Sanction(BAN, 7))
    newest = copy._newest
    copy.receive([b'0 %d -["ban",7,""]' % (newest - 1), b'0 %d -["ban",7,""]' % newest])
    assert copy.find(BAN, 7)


def test_a_redis_that_lost_them_takes_new_ones(cluster: Cluster) -> None:
    here, there = cluster.broker(), cluster.broker()
    here.sanctions.impose(Sanction(BAN, 7))
    until(lambda: subjects(there) == [7], "both have it")
    with cluster.server.client() as client:
        client.delete(f"{cluster.prefix}:sanctions")
    assert subjects(here) == [7], "until the next change the nodes go on with what they have"
    there.sanctions.impose(Sanction(BAN, 8))
    until(lambda: subjects(here) == subjects(there) == [8], "then all of them have what Redis has")


def test_nothing_is_changed_while_redis_is_away(tmp_path: Path, cluster: Cluster) -> None:
    broker = cluster.broker()
    broker.sanctions.impose(Sanction(BAN, 7))
    broker.close()
    with pytest.raises(CommandError) as caught:
        broker.sanctions.impose(Sanction(BAN, 8))
    assert caught.value.code is ErrorCode.INTERNAL
    assert broker.sanctions.find(BAN, 7), "what holds goes on to hold"
    assert broker.sanctions.find(BAN, 8) is None


def test_the_bound_is_the_same_everywhere() -> None:
    assert table.MOST == 10_000
