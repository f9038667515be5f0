"""What the hub asks of a broker, and what several nodes share; `Alone` is a node without others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from threadchat.chat.log.events import Direct, Draft, Position, Record, UserId
from threadchat.chat.log.sequencer import Channel
from threadchat.chat.presence import Presence
from threadchat.chat.sanctions import Sanctions

Reach = bool | None
"""What became of a direct message: a session took it, all were full, or (None) the person is not online."""


class Broker(Protocol):
    """Where logs and ids live. To be called on any thread."""

    @property
    def resume_key(self) -> bytes:
        """Signs resume tokens; the same on all nodes."""

    @property
    def sanctions(self) -> Sanctions:
        """Who is banned or muted; the same on all nodes."""

    def open(self, room: str) -> Channel:
        """The channel of a room; the hub asks once, until it forgets the room."""

    def new_user(self) -> int:
        """The next user id."""

    def leave_behind(self) -> None:
        """Begins anew in a forked process. Runs on: its only thread, first."""

    def close(self) -> None:
        """Ends what it has running; rooms that are closed after that end on this node alone."""


class RoomInfo(NamedTuple):
    """A room as a list of rooms shows it: people are counted once, whatever they have open."""

    name: str
    people: int
    offset: int


def fullest_first(rooms: Iterable[RoomInfo]) -> list[RoomInfo]:
    """The order of a list of rooms."""
    return sorted(rooms, key=lambda room: (-room.people, room.name))


class Node(Protocol):
    """The people of this node, for others. Only `evict` may wait. Runs on: the cluster's threads."""

    def offer(self, direct: Direct) -> Reach:
        """Offers a direct message to the sessions here."""

    def end(self, user: UserId, code: int, reason: str | None = None) -> int:
        """Ends the connections here of one person; returns how many there were."""

    def evict(self, user: UserId, room: str, reason: str) -> int:
        """Ends what one person has in a room here; returns in how many sessions there was something."""

    def addresses(self, user: UserId) -> set[str]:
        """Where the connections here of one person come from."""

    def notify(self, user: UserId, told: Record, *, kept: bool = False) -> bool:
        """Offers an event to a person's sessions here, `kept` to those without an inbox."""

    def sessions(self, user: UserId) -> list[str]:
        """The ids of the sessions here of one person."""

    def move(self, user: UserId, deed: str, room: str) -> int:
        """Has the sessions here of one person do that in a room; may wait. Returns how many did."""


Whispered = Callable[[str, bytes, UserId], None]
"""Offers another node's whisper, a frame, to those of a room's members who are here, but one user's; or what
is an event, to all who listen."""
OpenInbox = Callable[[UserId], None]
"""Has a person's sessions here listen to their inbox; may wait."""


@runtime_checkable
class Cluster(Protocol):
    """What a broker offers that many nodes share; one that does not is used as if it were `Alone`.

    To be called on any thread. CommandError 100 is raised where the others cannot be asked just now.
    """

    def connect(self, node: Node, whispered: Whispered, open_inbox: OpenInbox) -> None:
        """Told once who is to hear of what other nodes ask and pass on."""

    def presence(self, channel: Channel, announce_limit: int | None) -> Presence | None:
        """Who is in a channel's room on all nodes; None where this node's people are all there are.

        In rooms with more people than the limit nobody is announced.
        """

    def exists(self, room: str) -> bool:
        """Whether there is such a room, though this node does not have it open."""

    def rooms(self, here: list[RoomInfo]) -> list[RoomInfo]:
        """All rooms, the fullest first, given those that are open here with the people whom they have here.

        The list is everybody's who asks: it must not be changed.
        """

    def arrive(self, user: UserId) -> None:
        """A session of that person's came here. Never fails."""

    def depart(self, user: UserId) -> None:
        """A session of that person's went. Never fails."""

    def direct(self, direct: Direct, here: Reach) -> Reach:
        """Sends a direct message to the person's sessions on other nodes; what became of it on all."""

    def disconnect(self, user: UserId, code: int, reason: str | None = None) -> int:
        """Ends a person's connections on other nodes; returns how many there were."""

    def kick(self, user: UserId, room: str, reason: str) -> int:
        """Ends what a person has in a room on other nodes; returns how many sessions had something."""

    def addresses(self, user: UserId) -> set[str]:
        """Where a person's connections on other nodes come from."""

    def whisper(self, room: str, frame: bytes, but: UserId) -> None:
        """Passes on to other nodes what may be lost. Never fails."""

    def notify(self, user: UserId, json: bytes, *, kept: bool) -> bool:
        """Tells a person's sessions on other nodes of an event, or that it is `kept` in the person's inbox.

        Whether another node has that person online. Never fails: whatever is kept is found later.
        """

    def publish(self, room: str, drafts: Sequence[Draft]) -> list[Position] | None:
        """Publishes in a room that is not open here; None where it has to be opened for that."""

    def sessions(self, user: UserId) -> list[str]:
        """The ids of a person's sessions on other nodes."""

    def is_connected(self, user: UserId) -> bool:
        """Whether a person has a session on another node."""

    def move(self, user: UserId, deed: str, room: str) -> int:
        """Has a person's sessions on other nodes do that in a room; how many did."""


class Alone:
    """A node that has no others: everything is here, and ends with it."""

    def connect(self, node: Node, whispered: Whispered, open_inbox: OpenInbox) -> None:
        """See Cluster."""

    def presence(self, channel: Channel, announce_limit: int | None) -> Presence | None:
        """See Cluster."""
        return None

    def exists(self, room: str) -> bool:
        """See Cluster."""
        return False

    def rooms(self, here: list[RoomInfo]) -> list[RoomInfo]:
        """See Cluster."""
        return fullest_first(here)

    def arrive(self, user: UserId) -> None:
        """See Cluster."""

    def depart(self, user: UserId) -> None:
        """See Cluster."""

    def direct(self, direct: Direct, here: Reach) -> Reach:
        """See Cluster."""
        return here

    def disconnect(self, user: UserId, code: int, reason: str | None = None) -> int:
        """See Cluster."""
        return 0

    def kick(self, user: UserId, room: str, reason: str) -> int:
        """See Cluster."""
        return 0

    def addresses(self, user: UserId) -> set[str]:
        """See Cluster."""
        return set()

    def whisper(self, room: str, frame: bytes, but: UserId) -> None:
        """See Cluster."""

    def notify(self, user: UserId, json: bytes, *, kept: bool) -> bool:
        """See Cluster."""
        return False

    def publish(self, room: str, drafts: Sequence[Draft]) -> list[Position] | None:
        """See Cluster."""
        return None

    def sessions(self, user: UserId) -> list[str]:
        """See Cluster."""
        return []

    def is_connected(self, user: UserId) -> bool:
        """See Cluster."""
        return False

    def move(self, user: UserId, deed: str, room: str) -> int:
        """See Cluster."""
        return 0
