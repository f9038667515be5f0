"""People in a cluster: who is on which node, what they said and were told, and whether that adds up."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.e2e.process import PATIENCE, until
from threadchat.client import Client
from threadchat.client.backoff import Backoff
from threadchat.client.event import GAP, REFUSED, RESET, ChatEvent
from threadchat.errors import CommandError

if TYPE_CHECKING:
    from clustering.cluster import Cluster
    from clustering.parts import Node

ESTABLISHED = "01"
RETRY = 0.1  # seconds between two attempts to say what was refused for the moment


def connections(node: Node) -> frozenset[str]:
    """The TCP connections that a node has now, by their other ends."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    local = f"0100007F:{node.port:04X}"
    return frozenset(row[2] for row in rows if row[1] == local and row[3] == ESTABLISHED)


def nodes_of_new(before: dict[str, frozenset[str]], nodes: Sequence[Node]) -> list[Node]:
    """The nodes of connections that were not there before, each as often as it has such.

    Others may go meanwhile: nginx tries a second node where the first does not answer at once.
    """
    return [node for node in nodes for _ in connections(node) - before[node.name]]


class Member:
    """Somebody in a room, by the package's own client; may speak on a thread, again and again."""

    def __init__(self, url: str, name: str, room: str) -> None:
        """Connects and joins."""
        self.name = name
        self.room = room
        self.chat = Client(
            url,
            nickname=name,
            timeout=PATIENCE,
            events=100_000,
            event_bytes=1 << 28,
            backoff=Backoff(0.1, 1.0),
        )
        self.events: list[ChatEvent] = []
        self.acknowledged: dict[str, int] = {}  # what it said, and the offsets that it was told
        self.refusals: list[CommandError] = []  # temporary ones
        self.failure: BaseException | None = None
        self._said = 0
        self._quiet = threading.Event()
        self._thread: threading.Thread | None = None
        try:
            self.chat.join(room)
        except BaseException:
            self.chat.close()
            raise

    def __repr__(self) -> str:
        return f"<Member {self.name} said={len(self.acknowledged)} got={len(self.events)} {self.chat!r}>"

    # Speaking

    def say(self, text: str = "") -> int:
        """Says something until it is acknowledged; returns its offset. What is said again keeps its key."""
        self._said += 1
        text = text or f"{self.name} {self._said}"
        while True:
            try:
                offset = self.chat.message(self.room, text, key=text).offset
            except CommandError as error:
                if not error.temporary:
                    raise
                self.refusals.append(error)
                self._quiet.wait(RETRY)
            else:
                self.acknowledged[text] = offset
                return offset

    def start_speaking(self, pause: float) -> None:
        """Says one thing after the other from now on, with so many seconds between."""

        def speak() -> None:
            try:
                while not self._quiet.wait(pause):
                    self.say()
            except BaseException as error:
                self.failure = error

        self._quiet.clear()
        self._thread = threading.Thread(target=speak, name=f"speaker-{self.name}", daemon=True)
        self._thread.start()

    def stop_speaking(self) -> None:
        """Waits for the last acknowledgement. Raises what went wrong."""
        self._quiet.set()
        if self._thread is not None:
            self._thread.join(2 * PATIENCE)
            assert not self._thread.is_alive(), f"{self} does not come to an end"
            self._thread = None
        if self.failure is not None:
            raise self.failure

    # Listening

    def take_until(self, condition: Callable[[ChatEvent], bool], what: str) -> ChatEvent:
        """Takes events up to the first for which the condition holds."""
        while True:
            try:
                event = self.chat.next_event(PATIENCE)
            except TimeoutError:
                raise AssertionError(
                    f"{self.name} waits for {what}, the last events: {self.events[-5:]}"
                ) from None
            self.events.append(event)
            if condition(event):
                return event

    def take_text(self, text: str) -> ChatEvent:
        """Takes events up to a message."""
        return self.take_until(lambda event: event.message == text and event.type == "message", repr(text))

    @property
    def heard(self) -> list[ChatEvent]:
        """The messages that it was told, in the order in which they came."""
        return [event for event in self.events if event.type == "message"]

    @property
    def troubles(self) -> list[str]:
        """What its client tells of events that were missed."""
        return [event.type for event in self.events if event.type in (GAP, RESET, REFUSED)]

    def close(self) -> None:
        with contextlib.suppress(BaseException):
            self.stop_speaking()
        self.chat.close()


class Account(NamedTuple):
    """What became of messages: acknowledged but not delivered to somebody, and delivered twice."""

    acknowledged: int
    lost: list[str]
    duplicates: list[str]


class Crowd:
    """People who came one by one, so that it can be told on which node each of them is."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.members: list[Member] = []
        self.node_of: dict[str, Node] = {}

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for program in self._cluster.programs:
            program.send_signal(signal.SIGCONT)  # or the goodbyes would wait for one that a test paused
        threads = [threading.Thread(target=member.close, name="leaver") for member in self.members]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def enter(self, room: str, name: str, url: str = "") -> Member:
        """Somebody comes through nginx, or to a node's own address."""
        nodes = self._cluster.nodes
        before = {node.name: connections(node) for node in nodes}
        member = Member(url or self._cluster.chat_url, name, room)
        self.members.append(member)

        until(lambda: len(nodes_of_new(before, nodes)) == 1, f"{name} to be on one node")
        [self.node_of[name]] = nodes_of_new(before, nodes)
        return member

    def fill(self, room: str, each: int) -> list[Member]:
        """People come through nginx until there are so many on each node."""
        for number in range(each * len(self._cluster.nodes)):
            self.enter(room, f"p{number}")
        here = Counter(node.name for node in self.node_of.values())
        assert set(here.values()) == {each}, f"nginx takes turns, but: {here}"
        return self.members

    def on(self, node: Node) -> list[Member]:
        """Those who came to a node."""
        return [member for member in self.members if self.node_of[member.name] is node]

    def others(self, node: Node) -> list[Member]:
        """Those who came elsewhere."""
        return [member for member in self.members if self.node_of[member.name] is not node]

    # Speaking

    def start_speaking(self, pause: float = 0.05) -> None:
        """Everybody speaks, on a thread of their own."""
        for member in self.members:
            member.start_speaking(pause)

    def stop_speaking(self) -> None:
        """Everybody waits for their last acknowledgement."""
        for member in self.members:
            member.stop_speaking()

    def settle(self) -> Account:
        """Waits until everybody has all that was said; what became of it, and that it came in one order."""
        self.stop_speaking()
        self.members[0].say("the end")
        for member in self.members:
            member.take_text("the end")
        return account(self.members)


def account(members: Sequence[Member]) -> Account:
    """What became of everything that these people said; fails where somebody was told it out of order."""
    acknowledged: dict[str, int] = {}
    for member in members:
        acknowledged |= member.acknowledged
    lost, duplicates = [], []
    for member in members:
        ids = [event.id for event in member.heard]
        assert ids == sorted(ids), f"{member.name} was told events out of order"
        times = Counter(event.message for event in member.heard)
        places = {event.message: event.id for event in member.heard}
        first = min(ids, default=0)  # whoever came later was not there before
        lost += [
            f"{text} at {offset} to {member.name}"
            for text, offset in acknowledged.items()
            if offset >= first and places.get(text) != offset
        ]
        duplicates += [f"{text} to {member.name}" for text, count in times.items() if count > 1]
    return Account(len(acknowledged), lost, duplicates)


def same_order(members: Sequence[Member]) -> bool:
    """Whether all were told the same messages in the same order, since the last of them came."""
    since = max(member.heard[0].id for member in members)
    told = [[(it.id, it.message) for it in member.heard if it.id >= since] for member in members]
    return all(each == told[0] for each in told)


def sessions(member: Member) -> dict[str, int]:
    """Who is in a member's room as its node sees it, with how many sessions."""
    return {person.nickname: person.sessions for person in member.chat.who(member.room)}
