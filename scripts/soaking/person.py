"""One person of the soak: a session that is checked with every message that comes in."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from soaking.conditions import Conditions
from soaking.ledger import Frame, Ledger, Log
from soaking.line import Line
from tests.e2e.crowd import Crowd

Then = Callable[[Frame], None]

KEPT_DEEDS = 40
NARROW = 8192  # bytes of some people's receive buffers: with more the server hardly feels it when they stall
AWAY, UNKNOWN_ROOM, DENIED = 100, 102, 103
DISCIPLINE = {3503, 3509}  # kicked; and refused too often while muted
LOST = {1006, 3001, 3008, 3009, 3010, 3012}
"""What may come of reading too little: a reset above all."""


class Place:
    """What one has in a room: `last` is the id of the last event that came."""

    def __init__(self, log: Log, offset: int, *, member: bool, only: list[str] | None, marked: bool) -> None:
        self.log = log
        self.last = offset
        self.member = member
        self.only = only
        self.marker_due = marked


class Asked:
    """A command that is to be answered."""

    def __init__(self, command: str, then: Then, may_fail: tuple[int, ...]) -> None:
        self.command = command
        self.then = then
        self.may_fail = may_fail


class World(Protocol):
    """What a person needs of the town where they live."""

    port: int
    history_size: int
    random: Random
    crowd: Crowd
    ledger: Ledger
    counts: Counter[str]
    rooms: list[str]
    people: list[Person]
    owed: list[tuple[Person, Line, str]]
    conditions: Conditions
    disciplined: dict[int, float]

    @property
    def lags(self) -> bool:
        """Whether the driver itself was away."""

    def elapsed(self) -> float:
        """Seconds since the start."""

    def next_id(self) -> int:
        """A number like no other."""

    def left(self, person: Person) -> None:
        """Told that somebody's connection ended."""

    def read_page(self, person: Person, room: str, reply: Frame, *, reverse: bool = False) -> None:
        """Checks a page of a log."""


class Person:
    """Comes, goes and comes back; knows what they must have got. For the driver's thread."""

    def __init__(self, town: World, number: int) -> None:
        self.town = town
        self.number = number
        self.name = f"p{number}"
        self.known = town.conditions.user_of(number)  # the user id that their token gives them
        self.line: Line | None = None
        self.user = 0
        self.nickname = self.name
        self.resume = ""
        self.entered = False  # said hello, and was answered
        self.places: dict[str, Place] = {}
        self.before: dict[str, Place] = {}  # what there was on the connection that ended
        self.asked: dict[int, Asked] = {}
        self.deeds: deque[str] = deque(maxlen=KEPT_DEEDS)
        self.excuses: set[int] = set()  # codes with which this connection may end
        self.errors_due = 0  # for what is no command
        self.unsure: dict[
            str, tuple[str, str]
        ] = {}  # said with a key, not acknowledged: text to key and room
        self.posts: set[str] = set()  # private messages that came on this connection
        self.act_at = 0.0
        self.slow_until = 0.0
        self.moving: set[str] = set()  # rooms that are being joined or left
        self._connections = 0
        self._becomes = 0
        self._serial = 0

    def fault(self, what: str) -> None:
        """Notes that something is wrong here."""
        self.town.ledger.fault(self.name, what, self.deeds)

    def did(self, deed: str) -> None:
        """Notes what this person did, for whoever looks for the cause of a fault."""
        self.deeds.append(f"{self.town.elapsed():.3f} {deed}")

    @property
    def in_discipline(self) -> bool:
        """Whether a moderator did something about this user a moment ago."""
        return self.town.elapsed() < self.town.disciplined.get(self.user, 0.0)

    # Coming and going

    def come(self, resume: str = "") -> None:
        """Connects and says hello, as the same person as before or as whose `resume` it is."""
        self._connections += 1
        self.entered, self.errors_due, self._serial = False, 0, 0
        self.asked.clear()
        self.posts.clear()
        self.moving.clear()
        self.excuses.clear()
        narrow = NARROW if self.town.random.random() < 0.3 else None
        if narrow:
            self.excuses |= LOST  # in a flood of long messages
        conditions = self.town.conditions
        if conditions.forgets:
            self.excuses |= LOST
        token = conditions.token_of(self.number) if self.known else ""
        early = token if self.town.random.random() < 0.5 else ""  # shown in the handshake, or with hello
        self.line = Line(
            self.town.crowd,
            self.town.port,
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
            self._becomes = 0 if resume else self.user  # whoever presents another's token is that one
            if resume:
                self.unsure.clear()  # its keys are another's
            if resume := resume or self.resume:
                fields = {"resume": resume}
        self.did(f"comes, connection {self._connections}")
        self.ask("hello", self._welcomed, nickname=self.nickname, **fields)

    def _welcomed(self, reply: Frame) -> None:
        if self._becomes not in (0, reply["user"]):
            self.fault(f"came back as user {reply['user']} instead of {self._becomes}")
        self.user, self.resume, self.entered = reply["user"], reply.get("resume", ""), True
        self.town.counts["connections"] += 1
        before, self.before = self.before, {}
        for room, place in before.items():
            self.listen(room, member=place.member, only=place.only, since=place)
        unsure, self.unsure = self.unsure, {}
        for text, (key, room) in unsure.items():
            self.town.counts["sent again after a loss"] += 1
            self.town.ledger.resent.add(text)
            self.say(room, text, key)

    def lost(self, line: Line, code: int) -> None:
        """The connection ended."""
        if line is not self.line:
            return
        self.line = None
        self.did(f"is closed with {code}")
        self.town.counts[f"closed with {code}"] += 1
        if code in LOST - {1006} or (code == 1006 and self.slow_until):
            self.town.counts["cut off for reading too little"] += 1
        for fault in line.faults:
            self.fault(fault)
        if self.in_discipline:
            self.excuses |= DISCIPLINE
        if code not in self.excuses and not self.town.lags:
            self.fault(f"closed with {code}; excuses were {sorted(self.excuses)}")
        self.entered = False
        self.before.update(self.places)
        self.places = {}
        self.asked.clear()
        self.town.left(self)

    # Saying

    def ask(
        self, command: str, then: Then | None = None, may_fail: tuple[int, ...] = (), **fields: Any
    ) -> None:
        """Sends a command that has to be answered, at the worst with an error that it `may_fail` with."""
        assert self.line is not None
        number = self.town.next_id()
        self.asked[number] = Asked(
            f"{command} {fields.get('room', '')}", then or (lambda reply: None), may_fail
        )
        self.line.say({"type": command, "id": number, **fields})

    def new_text(self, size: int = 20) -> str:
        """A text like no other; it tells the connection, and the order in which texts were made."""
        self._serial += 1
        return f"{self.name}/{self._connections}.{self._serial} {'.' * size}"

    def say(self, room: str, text: str, key: str = "") -> None:
        """Says something in a room, and remembers it until it is acknowledged."""
        place = self.places.get(room)

        def acknowledged(reply: Frame) -> None:
            self.unsure.pop(text, None)
            if place is not None and self.places.get(room) is place:
                self.town.ledger.acknowledged(self.name, place.log, text, reply["offset"])

        if key:
            self.unsure[text] = key, room
        self.ask("message", acknowledged, room=room, message=text, **({"key": key} if key else {}))

    def listen(self, room: str, *, member: bool, only: list[str] | None, since: Place | None) -> None:
        """Joins or subscribes, from where `since` was left if that is given."""
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
            self.places[room] = Place(log, offset, member=member, only=only, marked=marked)

        self.moving.add(room)
        self.ask("join" if member else "subscribe", let_in, **fields)

    def leave(self, room: str) -> None:
        """Leaves or unsubscribes; nothing may come after the reply."""
        place = self.places[room]
        self.did(f"leaves {room} at {place.last}")

        def gone(reply: Frame) -> None:
            self.moving.discard(room)
            self.places.pop(room, None)

        self.moving.add(room)
        self.ask("leave" if place.member else "unsubscribe", gone, room=room)

    def _kicked(self, room: str) -> None:
        self.did(f"is kicked from {room}")
        if not self.in_discipline or room not in self.places:
            self.fault(f"kicked from {room}, for nothing")
        self.places.pop(room, None)

    def _check_recovery(self, reply: Frame, since: Place) -> None:
        offset, same = reply["offset"], reply["epoch"] == since.log.epoch
        if reply["recovered"]:
            self.town.counts["positions recovered"] += 1
            if not same or offset != since.last:
                self.fault(f"recovered {since.log} from {offset} instead of {since.last}: {reply}")
        else:
            self.town.counts["positions lost"] += 1
            if same and 0 <= offset - since.last <= self.town.history_size:
                self.fault(f"not recovered, though the log reaches from {offset} back to {since.last}")

    # Hearing

    def hear(self, line: Line, frame: Frame) -> None:
        """Checks one message."""
        if line is not self.line:
            return
        self.town.counts["frames received"] += 1
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
            place = self.places.get(frame["chatroomId"])
            if place is None or not place.member or frame["userId"] == self.user:
                self.fault(f"heard typing that is none of their business: {frame}")
        elif kind == "kicked":
            self._kicked(frame["chatroomId"])
        elif kind == "error" and self._may_be_refused(frame["code"]):
            self.town.counts[f"refused with {frame['code']}"] += 1
        elif kind == "error" and self.errors_due:
            self.errors_due -= 1
        else:
            self.fault(f"nobody asked for {frame!r:.200}")

    def _answered(self, frame: Frame) -> None:
        asked = self.asked.pop(frame["re"], None)
        if asked is None:
            self.fault(f"a reply to nothing, or a second one: {frame!r:.200}")
        elif frame["type"] == "ok":
            asked.then(frame)
        elif frame["code"] in asked.may_fail or self._may_be_refused(frame["code"]):
            self.town.counts[f"refused with {frame['code']}"] += 1
            self._give_up(asked)
        else:
            self.fault(f"{asked.command} was refused: {frame!r:.200}")

    def _give_up(self, asked: Asked) -> None:
        command, _, room = asked.command.partition(" ")
        if command in ("join", "subscribe", "leave", "unsubscribe"):
            self.moving.discard(room)
        elif command == "hello" and self.line is not None:  # they come again
            self.excuses.add(1000)
            self.act_at = float("inf")
            self.line.leave()

    def _may_be_refused(self, code: int) -> bool:
        """Whether the conditions are a reason for that."""
        away = self.town.conditions.forgets and code == AWAY
        return away or (self.in_discipline and code in (UNKNOWN_ROOM, DENIED))

    def _event(self, event: Frame) -> None:
        room, number = event["chatroomId"], event["id"]
        place = self.places.get(room)
        self.town.counts["events received"] += 1
        if place is None:
            self.fault(f"event {number} of {room}, where they are not")
            return
        if place.only is None and number != place.last + 1:
            self.fault(f"event {number} of {room} after {place.last}")
        elif place.only is not None:
            if number <= place.last or event["type"] not in place.only:
                self.fault(
                    f"{event['type']} {number} of {room} after {place.last}, and only {place.only} wanted"
                )
            self.town.ledger.skipped(self.name, place.log, place.last, number)
        place.last = number
        self.town.ledger.saw(self.name, place.log, event)

    def _live(self, room: str) -> None:
        place = self.places.get(room)
        if place is None or not place.marker_due:
            self.fault(f"a live marker of {room} that was not due")
        else:
            place.marker_due = False

    def _directed(self, frame: Frame) -> None:
        nonce = frame["message"]
        if nonce in self.posts:
            self.fault(f"private message {nonce} came twice")
        self.posts.add(nonce)
        self.town.ledger.delivered(self.name, self.user, nonce, frame)
