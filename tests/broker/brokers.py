"""What the brokers' tests share: the kinds of broker, and an outlet that keeps what it is handed."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.chat.helpers import PATIENCE, ids_of
from threadchat.broker.memory import MemoryBroker
from threadchat.broker.sqlite import SqliteBroker
from threadchat.chat.broker_interface import Broker
from threadchat.chat.delivery.fanout import Fanout
from threadchat.chat.log.backpressure import Gate
from threadchat.chat.log.events import Draft, Position, Record, is_inbox
from threadchat.chat.log.sequencer import Channel, Page
from threadchat.chat.log.tail import HISTORY_BYTES, HISTORY_SIZE, INBOX_SIZE

Make = Callable[..., Broker]


class Kind(NamedTuple):
    """A broker that the conformance suite runs on.

    `make` gets a folder of the test's own, or what the fixture named `needs` gives, and the test's options.
    A lasting one goes on with a forgotten room; one with a clock takes a fake one as an option; one where
    events are not handed on by their publishers has a thread that does it for all rooms.
    """

    name: str
    make: Callable[..., Broker]
    lasting: bool
    clocked: bool
    needs: str = "tmp_path"
    by_publishers: bool = True


class Memory(MemoryBroker):
    """Says how much of its log a room keeps, which elsewhere a hub does."""

    def __init__(
        self,
        history_size: int = HISTORY_SIZE,
        history_bytes: int = HISTORY_BYTES,
        inbox_size: int = INBOX_SIZE,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._kept = history_size, inbox_size, history_bytes

    def kept_of(self, room: str) -> tuple[int, int]:
        """Events and bytes."""
        events, in_inbox, size = self._kept
        return in_inbox if is_inbox(room) else events, size


def _memory(folder: Path, **options: Any) -> Broker:
    return Memory(**options)


def _sqlite(folder: Path, **options: Any) -> Broker:
    return SqliteBroker(folder / "chat.db", **options)


class Namespace(NamedTuple):
    """A part of a Redis."""

    url: str
    prefix: str

    @classmethod
    def fresh(cls, url: str) -> Namespace:
        """One that nobody has used."""
        return cls(url, f"test-{next(_numbers)}")


_numbers = itertools.count(1)


def _redis(namespace: Namespace, **options: Any) -> Broker:
    from threadchat.broker.redis import RedisBroker

    return RedisBroker(namespace.url, prefix=namespace.prefix, **options)


KINDS = [
    Kind("memory", _memory, lasting=False, clocked=True),
    Kind("sqlite", _sqlite, lasting=True, clocked=True),
    Kind("redis", _redis, lasting=True, clocked=False, needs="redis_namespace", by_publishers=False),
    Kind(
        "redis-cluster", _redis, lasting=True, clocked=False, needs="cluster_namespace", by_publishers=False
    ),
]


class Outlet:
    """Keeps what it is handed, and asserts that nobody else is in there."""

    def __init__(self, history_size: int = HISTORY_SIZE, history_bytes: int = HISTORY_BYTES) -> None:
        self._log = Fanout("r", history_size, history_bytes)  # of a room in memory
        self.head: Position | None = None
        self.records: list[Record] = []
        self.calls: list[int] = []  # how many records each brought
        self.told = 0
        self.gate: Gate | None = None
        self._alone = threading.Lock()
        self._arrived = threading.Condition()

    def begin(self, head: Position) -> None:
        """See sequencer.Outlet."""
        self.head = head
        self._log.begin(head)

    @property
    def newest(self) -> int:
        """See sequencer.Outlet."""
        return self._log.newest

    def deliver(self, records: Sequence[Record]) -> None:
        """See sequencer.Outlet."""
        assert self._alone.acquire(blocking=False), "two at a time"
        with self._arrived:
            self._log.deliver(records)
            self.records += records
            self.calls.append(len(records))
            self._arrived.notify_all()
        self._alone.release()

    def history(self, since: Position | None, limit: int, reverse: bool) -> Page:
        """See sequencer.Outlet."""
        return self._log.history(since, limit, reverse)

    def at(self, offset: int) -> Record | None:
        """See sequencer.Outlet."""
        return self._log.at(offset)

    def delivered(self) -> None:
        """See sequencer.Outlet."""
        self.told += 1

    def idle_for(self) -> float:
        """Somebody listens."""
        return 0.0

    def close(self) -> bool:
        """See sequencer.Outlet."""
        return True

    @property
    def got(self) -> list[int]:
        """The offsets of what came."""
        return ids_of(self.records)

    def wait_for(self, newest: int) -> list[int]:
        """The offsets of what came, once that event has: not every broker hands on before it answers."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: bool(self.records) and self.got[-1] >= newest, PATIENCE)
            return self.got


class Opened(NamedTuple):
    """A room's channel with an outlet."""

    channel: Channel
    outlet: Outlet

    @property
    def epoch(self) -> str:
        """Of the log, as the outlet was told."""
        assert self.outlet.head is not None
        return self.outlet.head.epoch

    def put(self, *drafts: Draft) -> list[int]:
        """Publishes where no gate is expected; returns the offsets."""
        return [position.offset for position in self.publish(*drafts)]

    def publish(self, *drafts: Draft) -> list[Position]:
        """As `put`, but returns the positions; waits at gates that a broker has of its own."""
        while isinstance(answer := self.channel.publish(drafts), Gate):
            assert self.outlet.gate is None, "that gate is the test's"
            answer.wait(PATIENCE)
        return answer

    def page(self, since: int | None = None, limit: int = 9, *, reverse: bool = False) -> list[int]:
        """The offsets of a page of history."""
        position = None if since is None else Position(since, self.epoch)
        return ids_of(self.channel.history(position, limit, reverse).records)


def opened(broker: Broker, room: str = "r") -> Opened:
    """A room's channel, with an outlet as the hub would give it one."""
    if not isinstance(broker, (MemoryBroker, SqliteBroker)):  # Redis, whose client need not be installed
        assert broker.wait_ready(PATIENCE)  # type: ignore[attr-defined]
    kept = broker.kept_of(room) if isinstance(broker, Memory) else ()
    channel, outlet = broker.open(room), Outlet(*kept)
    channel.attach(outlet)
    return Opened(channel, outlet)
