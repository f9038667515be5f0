"""People who use the package's own client: each speaks and listens on threads, and all is recorded."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from random import Random
from typing import Any, Final

import msgspec

from faulting.observations import Letter, Observations, Promise
from faulting.site import KEY
from threadchat.client import Client
from threadchat.client.backoff import Backoff
from threadchat.client.event import GAP, REFUSED, RESET
from threadchat.client.in_flight import Link
from threadchat.config.settings import Config
from threadchat.errors import CommandError, ConnectionClosed
from threadchat.plain.client import connect
from threadchat.server.auth.tokens import sign

FIRST_USER: Final = 1_000_000
TIMEOUT: Final = 5.0  # of a command; what was not acknowledged by then is said again
RETRY: Final = 0.1
LONGEST_RETRY: Final = 1.0  # a node closes a connection that goes on and on causing errors
ENTER_SECONDS: Final = 60.0
DIRECTS: Final = 0.2  # of what people say, to one person alone


def token_of(user: int) -> str:
    """A token that the nodes accept, even those whose clock is half a day away."""
    issued = time.time() - 43_200
    return sign(Config(token_key=KEY), user, rooms={"*": "rwd"}, seconds=86_400, now=issued)


class RecordingLink:
    """One WebSocket, which records what comes for rooms: within a connection, no event is left out."""

    def __init__(self, link: Link, who: str, observations: Observations) -> None:
        self._link = link
        self._who = who
        self._observations = observations
        self._joins: dict[int, str] = {}
        self.positions: dict[str, tuple[str, int]] = {}  # epoch and offset in each room

    def send(self, message: str) -> None:
        """Notes which replies will be those of rooms."""
        command = msgspec.json.decode(message)
        if command["type"] == "join":
            self._joins[command["id"]] = command["room"]
        self._link.send(message)

    def recv(self, timeout: float | None = None) -> str | bytes:
        """Records what came."""
        text = self._link.recv(timeout)
        frame = msgspec.json.decode(text)
        if "chatroomId" in frame and "id" in frame:
            self._event(frame)
        elif "re" in frame and (room := self._joins.pop(frame["re"], "")) and "epoch" in frame:
            self.positions[room] = frame["epoch"], frame["offset"]
            self._observations.entered(room, frame["epoch"])
        return text

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Closes the WebSocket."""
        self._link.close(code, reason)

    def _event(self, frame: dict[str, Any]) -> None:
        room, number = frame["chatroomId"], frame["id"]
        if room not in self.positions:
            self._observations.fault(self._who, f"was sent an event of {room} without being there: {frame}")
            return
        epoch, last = self.positions[room]
        if number != last + 1:
            self._observations.fault(self._who, f"was sent event {number} of {room} after {last}")
        self.positions[room] = epoch, number
        self._observations.saw(self._who, room, epoch, frame)


class Person:
    """Somebody with a token and an inbox, in some rooms, behind nginx."""

    def __init__(
        self,
        number: int,
        url: str,
        rooms: list[str],
        observations: Observations,
        random: Random,
        *,
        pace: float,
    ) -> None:
        """Connects and joins, on a thread of its own. Says something every `pace` seconds, on average."""
        self.name = f"p{number}"
        self.user = FIRST_USER + number
        self.rooms = rooms
        self.others: list[Person] = []
        self._url = url
        self._observations = observations
        self._random = random
        self._pace = pace
        self._token = token_of(self.user)
        self._link: RecordingLink | None = None
        self._client: Client | None = None
        self._said = 0
        self._offsets: dict[str, int] = {}  # the last events that the client returned
        self._may_speak = threading.Event()
        self._silent = threading.Event()
        self._gone = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=f"{work.__name__.strip('_')}-{self.name}", daemon=True)
            for work in (self._speak, self._listen)
        ]

    # For others

    def enter(self) -> None:
        """Connects and joins, and begins to listen. Raises TimeoutError."""
        deadline = time.monotonic() + ENTER_SECONDS
        while self._client is None:
            try:
                self._client = Client(
                    self._url,
                    nickname=self.name,
                    token=self._token,
                    timeout=TIMEOUT,
                    events=1_000_000,
                    event_bytes=1 << 30,
                    backoff=Backoff(0.1, 1.0),
                    opener=self._open,
                )
            except (OSError, CommandError, ConnectionClosed) as error:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{self.name} cannot connect: {error}") from error
                time.sleep(RETRY)
        for room in self.rooms:
            self._offsets[room] = self._client.join(room, timeout=ENTER_SECONDS).offset
        for thread in self._threads:
            thread.start()

    def speak(self) -> None:
        """Begins to speak, or goes on."""
        self._silent.clear()
        self._may_speak.set()

    def be_silent(self) -> None:
        """Says nothing more once the present message is acknowledged; see `await_silence`."""
        self._may_speak.clear()

    def await_silence(self, timeout: float) -> bool:
        """Waits for the last acknowledgement; returns whether it came."""
        return self._silent.wait(timeout)

    def read_inbox(self, url: str) -> list[str]:
        """The direct messages in the inbox, from its beginning, read over connections of their own."""
        nothing: dict[str, Any] = {}
        with connect(url, open_timeout=ENTER_SECONDS) as link:
            place = self._hello(link, nothing)["inbox"]
        if not place["offset"]:
            return []
        with connect(url, open_timeout=ENTER_SECONDS) as link:
            self._hello(link, {"inbox": {"offset": 0, "epoch": place["epoch"]}})
            texts, number = [], 0
            while number < place["offset"]:
                event = msgspec.json.decode(link.recv(ENTER_SECONDS))
                number = event.get("id", number)
                if event["type"] == "direct" and event["to"] == self.user:
                    texts.append(event["message"])
            return texts

    def _hello(self, link: Link, fields: dict[str, Any]) -> dict[str, Any]:
        command = {"type": "hello", "id": 1, "nickname": self.name, "token": self._token, **fields}
        link.send(msgspec.json.encode(command).decode())
        reply: dict[str, Any] = msgspec.json.decode(link.recv(ENTER_SECONDS))
        return reply

    @property
    def positions(self) -> dict[str, tuple[str, int]]:
        """Where in each room the present connection is; empty while there is none."""
        online = self._client is not None and self._client.connected
        return dict(self._link.positions) if online and self._link is not None else {}

    def close(self) -> None:
        """Leaves for good."""
        self._gone.set()
        self._may_speak.set()
        if self._client is not None:
            self._client.close()

    # Threads

    def _open(self, url: str, timeout: float) -> RecordingLink:
        link = connect(url, open_timeout=timeout, close_timeout=1.0)
        self._link = RecordingLink(link, self.name, self._observations)
        return self._link

    def _speak(self) -> None:
        while not self._gone.is_set():
            if not self._may_speak.is_set():
                self._silent.set()
                self._may_speak.wait()
            if self._gone.wait(self._random.expovariate(1 / self._pace)):
                return
            self._said += 1
            with contextlib.suppress(ConnectionClosed):  # `_listen` says why
                if self._random.random() < DIRECTS and self.others:
                    self._write_to(self._random.choice(self.others), f"{self.name}>{self._said}")
                else:
                    self._say(self._random.choice(self.rooms), f"{self.name}.{self._said}")

    def _say(self, room: str, text: str) -> None:
        assert self._client is not None
        sent = time.monotonic()
        for _ in self._attempts():
            try:
                offset = self._client.message(room, text, key=text).offset
            except (CommandError, TimeoutError) as error:
                self._refused(error)
            else:
                self._observations.promised(Promise(self.name, room, text, offset, sent, time.monotonic()))
                return

    def _write_to(self, other: Person, text: str) -> None:
        assert self._client is not None
        sent = time.monotonic()
        for _ in self._attempts():
            try:
                self._client.direct(other.user, text, key=text)
            except (CommandError, TimeoutError) as error:
                self._refused(error)
            else:
                self._observations.posted(Letter(self.name, other.name, text, sent, time.monotonic()))
                return

    def _attempts(self) -> Iterator[None]:
        """Until this person leaves, with growing pauses in between."""
        pause = 0.0
        while not self._gone.wait(pause):
            yield
            pause = min(max(RETRY, 2 * pause), LONGEST_RETRY)

    def _refused(self, error: CommandError | TimeoutError) -> None:
        if isinstance(error, CommandError) and not error.temporary:
            self._observations.fault(self.name, f"was refused for good: {error!r}")
        self._observations.counts["refused for a moment"] += 1

    def _listen(self) -> None:
        assert self._client is not None
        try:
            for event in self._client:
                if event.type == "direct" and event.to == self.user:
                    self._observations.received(self.name, event.message)
                elif event.type in (RESET, GAP) and not event.room:  # of the inbox
                    self._observations.told_of_missing(self.name)
                elif event.type in (RESET, GAP, REFUSED) and event.room:
                    if event.type != RESET:
                        self._observations.fault(
                            self.name, f"lost its place in {event.room}: {event.message}"
                        )
                    self._offsets[event.room] = event.id
                elif event.room and event.id:
                    if event.id != self._offsets[event.room] + 1:
                        before = self._offsets[event.room]
                        self._observations.fault(
                            self.name, f"got event {event.id} of {event.room} after {before}"
                        )
                    self._offsets[event.room] = event.id
        except Exception as error:
            if not self._gone.is_set():
                self._observations.fault(self.name, f"its client ended: {error!r}")
