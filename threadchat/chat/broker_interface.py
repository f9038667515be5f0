"""What the hub needs from a broker, and what several nodes share. `Alone` is a node without others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from threadchat.chat.access.blocks import Blocks
from threadchat.chat.access.sanctions import Sanctions
from threadchat.chat.log.events import Direct, Draft, Position, Record, UserId
from threadchat.chat.log.sequencer import Channel, Page
from threadchat.chat.presence import Presence

Reach = bool | None
"""What became of a direct message. True: a session took it. False: every session was full. None: the person
is not online.
"""


class Reads(Protocol):
    """See ReadPositions."""

    def of(self, user: UserId) -> dict[str, Position]: ...
    def advance(self, user: UserId, room: str, position: Position) -> bool: ...


class Broker(Protocol):
    """Where logs and ids are kept. Every method may be called from any thread."""

    @property
    def resume_key(self) -> bytes:
        """Signs resume tokens. All nodes have the same key."""

    @property
    def sanctions(self) -> Sanctions:
        """Who is banned or muted. All nodes have the same list."""

    @property
    def revocations(self) -> Sanctions:
        """What was revoked, each a Revocation. All nodes have the same list."""

    @property
    def blocks(self) -> Blocks:
        """Whose private messages people with an inbox do not want."""

    @property
    def reads(self) -> Reads:
        """Up to where people have read. All nodes have the same positions."""

    def open(self, room: str) -> Channel:
        """Returns the channel of a room. The hub asks once, until it forgets the room."""

    def new_user(self) -> int:
        """The next user id."""

    def leave_behind(self) -> None:
        """Starts from scratch in a forked process. Runs on: its only thread, before anything else."""

    def close(self) -> None:
        """Stops the broker's threads. A room that is closed after this ends on this node only."""


class NodeReports(Protocol):
    """What the nodes of a cluster tell each other about themselves. The chat knows nothing of the content."""

    own: bytes
    """What this node reports from now on; empty for nothing."""

    def read(self) -> list[tuple[bytes, float]]:
        """The last reports of all nodes, each with its age in seconds. Never waits. Runs on: any thread."""


class RoomInfo(NamedTuple):
    """A room as a list of rooms shows it. A person counts once, however many sessions they have."""

    name: str
    people: int
    offset: int


def fullest_first(rooms: Iterable[RoomInfo]) -> list[RoomInfo]:
    """Sorts rooms for a list: most people first, then by name."""
    return sorted(rooms, key=lambda room: (-room.people, room.name))


class Node(Protocol):
    """The people of this node, as other nodes use them. Only `evict` may block.

    Runs on: the cluster's threads.
    """

    def offer(self, direct: Direct) -> Reach:
        """Offers a direct message to the person's sessions on this node."""

    def end(self, user: UserId, code: int, reason: str | None = None) -> int:
        """Closes a person's connections on this node. Returns how many there were."""

    def evict(self, user: UserId, room: str, reason: str) -> int:
        """Ends a person's memberships and subscriptions in a room here. Returns how many sessions had one."""

    def addresses(self, user: UserId) -> set[str]:
        """The addresses of a person's connections on this node."""

    def notify(self, user: UserId, told: Record, *, kept: bool = False) -> bool:
        """Offers an event to a person's sessions on this node.

        A `kept` event goes only to sessions without an inbox.
        """

    def sessions(self, user: UserId) -> list[str]:
        """The ids of a person's sessions on this node."""

    def move(self, user: UserId, action: str, room: str) -> int:
        """Makes a person's sessions on this node do `action` (join, leave, subscribe, unsubscribe) in a room.

        May block. Returns the number of sessions that did it.
        """


Whispered = Callable[[str, bytes, UserId], None]
"""Delivers what another node published without a log: a room, a frame, and the user or session to leave out.

A typing notice goes to the room's members on this node, and an event to all of its subscribers.
"""
OpenInbox = Callable[[UserId], None]
"""Subscribes a person's sessions on this node to their inbox. May block."""


@runtime_checkable
class Cluster(Protocol):
    """What a broker offers when many nodes share it. A broker without this is used as if it were `Alone`.

    Every method may be called from any thread. A method raises CommandError 100 if the other nodes cannot be
    asked at the moment.
    """

    def connect(self, node: Node, whispered: Whispered, open_inbox: OpenInbox) -> None:
        """Called once, with what to call for the requests and messages of other nodes."""

    def presence(self, channel: Channel, announce_limit: int | None) -> Presence | None:
        """Who is in the channel's room on all nodes. Returns None if there are no other nodes.

        Nobody is announced in a room with more people than the limit.
        """

    def exists(self, room: str) -> bool:
        """Whether the room exists, for a room that is not open on this node."""

    def rooms(self, here: list[RoomInfo]) -> list[RoomInfo]:
        """All rooms, the fullest first.

        `here` lists the rooms that are open on this node, with their people on this node. Callers share the
        returned list and must not change it.
        """

    def read_log(self, room: str, since: Position | None, limit: int) -> Page | None:
        """A page of the log of a room that is not open on this node; see Channel. None if it does not exist.

        Raises CommandError 112 if the log does not reach `since`.
        """

    def arrive(self, user: UserId) -> None:
        """Notes that a session of this person came online on this node. Never fails."""

    def depart(self, user: UserId) -> None:
        """Notes that a session of this person on this node has ended. Never fails."""

    def direct(self, direct: Direct, here: Reach) -> Reach:
        """Sends a direct message to the person's sessions on other nodes.

        Returns its reach on all nodes, `here` included.
        """

    def disconnect(self, user: UserId, code: int, reason: str | None = None) -> int:
        """Closes a person's connections on other nodes. Returns how many there were."""

    def kick(self, user: UserId, room: str, reason: str) -> int:
        """Ends a person's memberships and subscriptions in a room elsewhere.

        Returns how many sessions had one.
        """

    def addresses(self, user: UserId) -> set[str]:
        """The addresses of a person's connections on other nodes."""

    def whisper(self, room: str, frame: bytes, but: UserId) -> None:
        """Sends other nodes a frame that is in no log and may be lost. Never fails."""

    def notify(self, user: UserId, json: bytes, *, kept: bool) -> bool:
        """Sends an event to a person's sessions on other nodes, or says that it is `kept` in their inbox.

        Returns whether the person is online on another node. Never fails, because a kept event is found
        later.
        """

    def publish(self, room: str, drafts: Sequence[Draft]) -> list[Position] | None:
        """Publishes in a room that is not open on this node. Returns None if it has to be opened for that."""

    def sessions(self, user: UserId) -> list[str]:
        """The ids of a person's sessions on other nodes."""

    def is_connected(self, user: UserId) -> bool:
        """Whether a person has a session on another node."""

    def move(self, user: UserId, action: str, room: str) -> int:
        """Makes a person's sessions on other nodes do `action` in a room. Returns how many did it."""


class Alone:
    """A node without other nodes."""

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

    def read_log(self, room: str, since: Position | None, limit: int) -> Page | None:
        """See Cluster."""
        return None

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

    def move(self, user: UserId, action: str, room: str) -> int:
        """See Cluster."""
        return 0
