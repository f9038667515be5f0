"""One simulated person: a session that checks every message that it receives."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from soaking.checker import Checker, Frame, Log
from soaking.conditions import Conditions
from soaking.connection import Connection
from tests.e2e.crowd import Crowd

Then = Callable[[Frame], None]

KEPT_ACTIONS = 40
NARROW = 8192  # bytes of some receive buffers; with larger ones the server hardly notices a stalled reader
AWAY, UNKNOWN_ROOM, DENIED = 100, 102, 103
DISCIPLINE = {3503, 3509}  # kicked; and refused too often while muted
LOST = {1006, 3001, 3008, 3009, 3010, 3012}
"""Close codes that may follow from reading too little; mostly a reset."""
COMINGS = frozenset({"join", "add", "remove", "leave", "rename"})
"""If there are very many in a room, some are told without an id, and are in no log."""


class Position:
    """A person's position in a room: `last` is the id of the last event received."""

    def __init__(self, log: Log, offset: int, *, member: bool, only: list[str] | None, marked: bool) -> None:
        self.log = log
        self.last = offset
        self.member = member
        self.only = only
        self.marker_due = marked


class PendingCommand:
    """A command that waits for its reply."""

    def __init__(self, command: str, then: Then, may_fail: tuple[int, ...]) -> None:
        self.command = command
        self.then = then
        self.may_fail = may_fail


class SimulationView(Protocol):
    """The part of the simulation that a person uses."""

    port: int
    history_size: int
    random: Random
    crowd: Crowd
    checker: Checker
    counts: Counter[str]
    rooms: list[str]
    people: list[Person]
    owed: list[tuple[Person, Connection, str]]
    conditions: Conditions
    disciplined: dict[int, float]

    @property
    def lags(self) -> bool:
        """Whether the driver itself lagged a moment ago."""

    def elapsed(self) -> float:
        """Seconds since the start."""

    def next_id(self) -> int:
        """A unique number."""

    def left(self, person: Person) -> None:
        """Called when a person's connection has ended."""

    def read_page(self, person: Person, room: str, reply: Frame, *, reverse: bool = False) -> None:
        """Checks a page of a log."""


class Person:
    """A person who connects, leaves and reconnects, and knows what to expect. Used on the driver's thread."""

    def __init__(self, simulation: SimulationView, number: int) -> None:
        self.simulation = simulation
        self.number = number
        self.name = f"p{number}"
        self.known = simulation.conditions.user_of(number)  # the user id that their token gives them
        self.connection: Connection | None = None
        self.user = 0
        self.nickname = self.name
        self.resume = ""
        self.entered = False  # whether hello was answered
        self.positions: dict[str, Position] = {}
        self.before: dict[str, Position] = {}  # the positions on the connection that ended
        self.pending: dict[int, PendingCommand] = {}
        self.actions: deque[str] = deque(maxlen=KEPT_ACTIONS)
        self.excuses: set[int] = set()  # codes with which this connection may end
        self.errors_due = 0  # errors that must follow invalid commands
        self.unsure: dict[
            str, tuple[str, str]
        ] = {}  # said with a key, not acknowledged: text to key and room
        self.posts: set[str] = set()  # private messages received on this connection
        self.act_at = 0.0
        self.slow_until = 0.0
        self.moving: set[str] = set()  # rooms that are being joined or left
        self._connections = 0
        self._becomes = 0
        self._serial = 0

    def fault(self, what: str) -> None:
        """Reports a fault that this person noticed."""
        self.simulation.checker.fault(self.name, what, self.actions)

    def did(self, action: str) -> None:
        """Records an action of this person, for the report of a fault."""
        self.actions.append(f"{self.simulation.elapsed():.3f} {action}")

    @property
    def in_discipline(self) -> bool:
        """Whether a moderator acted on this user a moment ago."""
        return self.simulation.elapsed() < self.simulation.disciplined.get(self.user, 0.0)

    # Connecting

    def come(self, resume: str = "") -> None:
        """Connects and says hello, as the same user as before or as the owner of `resume`."""
        self._connections += 1
        self.entered, self.errors_due, self._serial = False, 0, 0
        self.pending.clear()
        self.posts.clear()
        self.moving.clear()
        self.excuses.clear()
        narrow = NARROW if self.simulation.random.random() < 0.3 else None
        if narrow:
            self.excuses |= LOST  # a flood of long messages may be too much for it
        conditions = self.simulation.conditions
        if conditions.forgets:
            self.excuses |= LOST
        token = conditions.token_of(self.number) if self.known else ""
        # The token is sent in the handshake or with hello.
        early = token if self.simulation.random.random() < 0.5 else ""
        self.connection = Connection(
            self.simulation.crowd,
            self.simulation.port,
            self.hear,
            self.lost,
            receive_buffer=narrow,
            tls=conditions.tls,
            compressed=conditions.compressed(),
            token=early,
        )
        fields: dict[str, Any] = {}
        if self.known:
            self._becomes = self.known
            fields = {} if early else {"token": token}
        else:
            self._becomes = 0 if resume else self.user  # with another's token, the user id is not known yet
            if resume:
                self.unsure.clear()  # their keys belong to another user
            if resume := resume or self.resume:
                fields = {"resume": resume}
        self.did(f"comes, connection {self._connections}")
        self.ask("hello", self._welcomed, nickname=self.nickname, **fields)

    def _welcomed(self, reply: Frame) -> None:
        if self._becomes not in (0, reply["user"]):
            self.fault(f"came back as user {reply['user']} instead of {self._becomes}")
        self.user, self.resume, self.entered = reply["user"], reply.get("resume", ""), True
        self.simulation.counts["connections"] += 1
        before, self.before = self.before, {}
        for room, position in before.items():
            self.listen(room, member=position.member, only=position.only, since=position)
        unsure, self.unsure = self.unsure, {}
        for text, (key, room) in unsure.items():
            self.simulation.counts["sent again after a loss"] += 1
            self.simulation.checker.resent.add(text)
            self.say(room, text, key)

    def lost(self, connection: Connection, code: int) -> None:
        """Handles the end of the connection."""
        if connection is not self.connection:
            return
        self.connection = None
        self.did(f"is closed with {code}")
        self.simulation.counts[f"closed with {code}"] += 1
        if code in LOST - {1006} or (code == 1006 and self.slow_until):
            self.simulation.counts["cut off for reading too little"] += 1
        for fault in connection.faults:
            self.fault(fault)
        if self.in_discipline:
            self.excuses |= DISCIPLINE
        if code not in self.excuses and not self.simulation.lags:
            self.fault(f"closed with {code}; excuses were {sorted(self.excuses)}")
        self.entered = False
        self.before.update(self.positions)
        self.positions = {}
        self.pending.clear()
        self.simulation.left(self)

    # Sending

    def ask(
        self, command: str, then: Then | None = None, may_fail: tuple[int, ...] = (), **fields: Any
    ) -> None:
        """Sends a command that has to be answered, at the worst with an error that it `may_fail` with."""
        assert self.connection is not None
        number = self.simulation.next_id()
        self.pending[number] = PendingCommand(
            f"{command} {fields.get('room', '')}", then or (lambda reply: None), may_fail
        )
        self.connection.say({"type": command, "id": number, **fields})

    def new_text(self, size: int = 20) -> str:
        """A unique text, which contains the connection and the order in which texts were created."""
        self._serial += 1
        return f"{self.name}/{self._connections}.{self._serial} {'.' * size}"

    def say(self, room: str, text: str, key: str = "") -> None:
        """Sends a message to a room, and remembers it until it is acknowledged."""
        position = self.positions.get(room)

        def acknowledged(reply: Frame) -> None:
            self.unsure.pop(text, None)
            if position is not None and self.positions.get(room) is position:
                self.simulation.checker.acknowledged(self.name, position.log, text, reply["offset"])

        if key:
            self.unsure[text] = key, room
        self.ask("message", acknowledged, room=room, message=text, **({"key": key} if key else {}))

    def listen(self, room: str, *, member: bool, only: list[str] | None, since: Position | None) -> None:
        """Joins or subscribes to a room, from the position `since` if it is given."""
        fields: dict[str, Any] = {"room": room}
        if only is not None:
            fields["types"] = only
        if since is not None:
            fields["since"] = {"offset": since.last, "epoch": since.log.epoch}
        self.did(f"{'joins' if member else 'subscribes to'} {room} {fields.get('since', '')}")

        def let_in(reply: Frame) -> None:
            self.moving.discard(room)
            log, offset = Log(room, reply["epoch"]), reply["offset"]
            if since is not None:
                self._check_recovery(reply, since)
            marked = not member or since is not None
            self.positions[room] = Position(log, offset, member=member, only=only, marked=marked)

        self.moving.add(room)
        self.ask("join" if member else "subscribe", let_in, **fields)

    def leave(self, room: str) -> None:
        """Leaves or unsubscribes; no event may follow the reply."""
        position = self.positions[room]
        self.did(f"leaves {room} at {position.last}")

        def gone(reply: Frame) -> None:
            self.moving.discard(room)
            self.positions.pop(room, None)

        self.moving.add(room)
        self.ask("leave" if position.member else "unsubscribe", gone, room=room)

    def _kicked(self, room: str) -> None:
        self.did(f"is kicked from {room}")
        if not self.in_discipline or room not in self.positions:
            self.fault(f"kicked from {room} without a reason")
        self.positions.pop(room, None)

    def _check_recovery(self, reply: Frame, since: Position) -> None:
        offset, same = reply["offset"], reply["epoch"] == since.log.epoch
        if reply["recovered"]:
            self.simulation.counts["positions recovered"] += 1
            if not same or offset != since.last:
                self.fault(f"recovered {since.log} from {offset} instead of {since.last}: {reply}")
        else:
            self.simulation.counts["positions lost"] += 1
            if same and 0 <= offset - since.last <= self.simulation.history_size:
                self.fault(f"not recovered, though the log reaches from {offset} back to {since.last}")

    # Receiving

    def hear(self, connection: Connection, frame: Frame) -> None:
        """Checks one received message."""
        if connection is not self.connection:
            return
        self.simulation.counts["frames received"] += 1
        kind = frame.get("type")
        if "re" in frame:
            self._answered(frame)
        elif "chatroomId" in frame and "id" in frame:
            self._event(frame)
        elif kind == "direct":
            self._directed(frame)
        elif kind == "live":
            self._live(frame["chatroomId"])
        elif kind == "typing":
            position = self.positions.get(frame["chatroomId"])
            if position is None or not position.member or frame["userId"] == self.user:
                self.fault(f"received a typing event that was not for them: {frame}")
        elif kind in COMINGS or (kind == "inbox" and self.known):
            self.simulation.counts[f"told without an id: {kind}"] += 1
        elif kind == "kicked":
            self._kicked(frame["chatroomId"])
        elif kind == "error" and self._may_be_refused(frame["code"]):
            self.simulation.counts[f"refused with {frame['code']}"] += 1
        elif kind == "error" and self.errors_due:
            self.errors_due -= 1
        else:
            self.fault(f"nobody asked for {frame!r:.200}")

    def _answered(self, frame: Frame) -> None:
        asked = self.pending.pop(frame["re"], None)
        if asked is None:
            self.fault(f"a reply to nothing, or a second one: {frame!r:.200}")
        elif frame["type"] == "ok":
            asked.then(frame)
        elif frame["code"] in asked.may_fail or self._may_be_refused(frame["code"]):
            self.simulation.counts[f"refused with {frame['code']}"] += 1
            self._give_up(asked)
        else:
            self.fault(f"{asked.command} was refused: {frame!r:.200}")

    def _give_up(self, asked: PendingCommand) -> None:
        command, _, room = asked.command.partition(" ")
        if command in ("join", "subscribe", "leave", "unsubscribe"):
            self.moving.discard(room)
        elif command == "hello" and self.connection is not None:  # they will try again
            self.excuses.add(1000)
            self.act_at = float("inf")
            self.connection.leave()

    def _may_be_refused(self, code: int) -> bool:
        """Whether the conditions explain a refusal with this code."""
        away = self.simulation.conditions.forgets and code == AWAY
        return away or (self.in_discipline and code in (UNKNOWN_ROOM, DENIED))

    def _event(self, event: Frame) -> None:
        room, number = event["chatroomId"], event["id"]
        position = self.positions.get(room)
        self.simulation.counts["events received"] += 1
        if position is None:
            self.fault(f"event {number} of {room}, which they are not in")
            return
        if position.only is None and number != position.last + 1:
            self.fault(f"event {number} of {room} after {position.last}")
        elif position.only is not None:
            if number <= position.last or event["type"] not in position.only:
                self.fault(
                    f"{event['type']} {number} of {room} after {position.last}, wanted only {position.only}"
                )
            self.simulation.checker.skipped(self.name, position.log, position.last, number)
        position.last = number
        self.simulation.checker.saw(self.name, position.log, event)

    def _live(self, room: str) -> None:
        position = self.positions.get(room)
        if position is None or not position.marker_due:
            self.fault(f"an unexpected live marker of {room}")
        else:
            position.marker_due = False

    def _directed(self, frame: Frame) -> None:
        nonce = frame["message"]
        if nonce in self.posts:
            self.fault(f"private message {nonce} came twice")
        self.posts.add(nonce)
        self.simulation.checker.delivered(self.name, self.user, nonce, frame)
