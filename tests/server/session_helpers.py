"""What the tests of sessions share: a hub in fake time, and people with real connections to it."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

from websockets.exceptions import ConnectionClosed as PeerClosed
from websockets.sync.client import connect

from tests.wire.helpers import PATIENCE, Hand, client_frame, tcp_pair, until
from threadchat.broker.memory import MemoryBroker
from threadchat.chat.hub import Hub
from threadchat.chat.routing import make_routing
from threadchat.config.settings import Config
from threadchat.errors import ConnectionClosed
from threadchat.server.auth.admission import ANYBODY
from threadchat.server.auth.hooks import Hooks
from threadchat.server.auth.identity import Identity
from threadchat.server.auth.tokens import Pass
from threadchat.server.auth.users import User
from threadchat.server.http.environ import make_environ
from threadchat.server.http.request import RequestReader
from threadchat.server.protocol.encoding import BROADCAST_ROOM
from threadchat.server.session.native import NativeSession
from threadchat.server.session.session import Session
from threadchat.wire.connection import Connection, ConnectionState, Limits
from threadchat.wire.protocol import frames
from threadchat.wire.turnstile import Turnstile

Json = dict[str, Any]
Dialect = Callable[..., Session]


def burst(*messages: str | Json) -> bytes:
    """Text frames as a client sends them, one behind the other."""
    texts = (item if isinstance(item, str) else json.dumps(item) for item in messages)
    return b"".join(client_frame(frames.TEXT, text.encode()) for text in texts)


class TracedConnection(Connection):
    """Notes every state that it is given."""

    states: list[ConnectionState]

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "state":
            self.__dict__.setdefault("states", []).append(value)
        super().__setattr__(name, value)


class World:
    """A hub and the connections to it, in fake time; no server listens. Settings are a Config's.

    `hooks` are an application's, `admission` says who else comes in; a test sets them before anybody
    connects.
    """

    def __init__(self, **settings: Any) -> None:
        self.hooks = Hooks()
        self.admission = ANYBODY
        self.config = config = Config(**settings)
        self.hand = Hand()
        self.turnstile = Turnstile()
        self.hub = Hub(
            MemoryBroker(clock=self.hand.clock),
            routing=make_routing(config.routing, config.request_buffer, config.send_timeout),
            schedule=self.hand.pinger.call_later,
            room_ttl=config.room_ttl,
            max_rooms=config.max_rooms,
            reserved=(BROADCAST_ROOM,),
            history_size=config.history_size,
            history_bytes=config.history_bytes,
            announce_limit=config.announce_limit,
            clock=self.hand.clock,
        )
        self._people: list[Person] = []
        self._numbers = itertools.count(1)

    def connect(
        self,
        dialect: Dialect = NativeSession,
        *,
        trailing: bytes = b"",
        turnstile: Turnstile | None = None,
        identity: User | None = None,
        shown: Pass | None = None,
        ready: Callable[[Session], object] = lambda session: None,
    ) -> Person:
        """Somebody who has connected, and said nothing but `trailing`, which comes in as one burst.

        `identity` is who the application or a token says it is, `shown` that token. `ready` is called on the
        reader's thread before the session runs. With a turnstile of its own the person's writer can be made
        to wait alone.
        """
        number = next(self._numbers)
        person = Person(
            self,
            number,
            dialect,
            trailing,
            turnstile=turnstile or self.turnstile,
            identity=identity,
            shown=shown,
            ready=ready,
        )
        self._people.append(person)
        return person

    def enter(self, nickname: str, **fields: Any) -> Person:
        """Somebody who has said hello on the native dialect."""
        person = self.connect()
        person.welcome = person.ask("hello", nickname=nickname, **fields)
        assert person.welcome["type"] == "ok", person.welcome
        return person

    def join(self, nickname: str, *rooms: str) -> Person:
        """Somebody who has joined rooms, and heard of it."""
        person = self.enter(nickname)
        for room in rooms:
            assert person.ask("join", room=room)["type"] == "ok"
            assert person.next()["type"] == "join"
        return person

    def advance(self, seconds: float) -> None:
        """Lets time pass, and goes off what is due."""
        self.hand.advance(seconds)

    def close(self) -> None:
        """Everybody leaves; nothing of them is left."""
        for person in self._people:
            person.leave()
        assert not self.hub._sessions
        assert not any(room.who() for room in self.hub.rooms() if not room.closed)
        self.hub.close()

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Person:
    """A session on the one end of a TCP connection, the client of the `websockets` library on the other."""

    def __init__(
        self,
        world: World,
        number: int,
        dialect: Dialect,
        trailing: bytes,
        *,
        turnstile: Turnstile,
        identity: User | None,
        shown: Pass | None,
        ready: Callable[[Session], object],
    ) -> None:
        self.turnstile = turnstile
        self._identity = identity
        self._shown = shown
        self.welcome: Json = {}
        self.gone = 0
        self._world = world
        self._dialect = dialect
        self._ready = ready
        self._ids = itertools.count(1)
        self._heard: deque[Json] = deque()  # what came before a reply that was waited for
        accepted, client = tcp_pair()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connected = threading.Event()
        self.thread = threading.Thread(target=self._serve, args=(accepted, number, trailing), daemon=True)
        self.thread.start()
        opening = connect(
            "ws://chat.example/chat",
            sock=client,
            compression=None,
            proxy=None,
            open_timeout=PATIENCE,
            ping_interval=None,
            close_timeout=PATIENCE,
            max_size=None,
            max_queue=None,
        )
        self.client = opening.__enter__()  # `leave` ends it
        assert self._connected.wait(PATIENCE)

    def _serve(self, accepted: socket.socket, number: int, trailing: bytes) -> None:
        world = self._world
        request = RequestReader(accepted, monotonic() + PATIENCE, monotonic).read()
        accepted.settimeout(None)
        config = world.config
        self.connection = TracedConnection(
            number,
            accepted,
            make_environ(request, {}, ("127.0.0.1", 1)),
            trailing,
            turnstile=self.turnstile,
            pinger=world.hand.pinger,
            limits=Limits(
                outbox_messages=config.outbox_messages,
                outbox_bytes=config.outbox_bytes,
                max_message_size=config.max_message_size,
                ping_interval=config.ping_interval,
                pong_timeout=config.pong_timeout,
            ),
            jitter=lambda: 1.0,
            on_gone=self._on_gone,
        )
        identity = Identity(
            self.connection,
            world.hooks,
            self._identity,
            "127.0.0.1",
            admission=world.admission,
            shown=self._shown,
        )
        self.session = self._dialect(
            self.connection, world.hub, config, identity=identity, clock=world.hand.clock
        )
        self._ready(self.session)
        self._connected.set()
        self.session.run()

    def _on_gone(self, connection: Connection) -> None:
        assert connection is self.connection
        self.gone += 1

    # Talking

    def send(self, message: str | bytes | Json) -> None:
        """Sends one message: text and bytes as they are, anything else as JSON."""
        self.client.send(message if isinstance(message, (str, bytes)) else json.dumps(message))

    def send_together(self, *messages: str | Json) -> None:
        """Sends all in one system call."""
        self.client.socket.sendall(burst(*messages))

    def next(self) -> Json:
        """The next message that was not a reply waited for."""
        return self._heard.popleft() if self._heard else self._receive()

    def take(self, count: int) -> list[Json]:
        """That many messages."""
        return [self.next() for _ in range(count)]

    def ask(self, command: str, **fields: Any) -> Json:
        """Sends a command and returns its reply; what comes before it waits for `next`."""
        command_id = next(self._ids)
        self.send({"type": command, "id": command_id, **fields})
        return self.reply(command_id)

    def reply(self, command_id: int | str) -> Json:
        """The reply to a command that was sent."""
        while (message := self._receive()).get("re") != command_id:
            self._heard.append(message)
        return message

    def refused(self, command: str, **fields: Any) -> int:
        """Sends a command and returns the code of its refusal."""
        answer = self.ask(command, **fields)
        assert answer["type"] == "error", answer
        assert isinstance(answer["reason"], str)
        assert answer["reason"]
        return int(answer["code"])

    def wait_until_idle(self) -> None:
        """Waits until the reader has dealt with all that was said, and waits for more."""
        until(lambda: not self.connection.is_behind())

    def unheard(self) -> list[Json]:
        """All that came before the reply to a ping, and was not asked for; the reader is idle then."""
        assert self.ask("ping") == {"type": "ok", "re": next(self._ids) - 1}
        self.wait_until_idle()
        heard = list(self._heard)
        self._heard.clear()
        return heard

    def _receive(self) -> Json:
        message = json.loads(self.client.recv(timeout=PATIENCE))
        assert isinstance(message, dict)
        return message

    # The end

    def close_code(self) -> int:
        """Waits for the server's Close; its code."""
        with contextlib.suppress(PeerClosed):
            while True:
                self._heard.append(self._receive())
        assert self.client.close_code is not None
        return self.client.close_code

    def heard_at_last(self) -> list[Json]:
        """What came before the Close that `close_code` waited for."""
        return list(self._heard)

    def reset(self) -> None:
        """Ends the TCP connection without a Close. The client's own thread closes the socket."""
        self.client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.socket.shutdown(socket.SHUT_RD)

    def wait_gone(self) -> ConnectionClosed:
        """Waits until reader and writer have ended; why they did."""
        for thread in (self.thread, self.connection._writer.thread):
            thread.join(PATIENCE)
            assert not thread.is_alive(), f"{thread.name} did not end"
        assert self.gone == 1
        states = [state.value for state in self.connection.states]
        assert states == sorted(states), self.connection.states
        assert self.connection.state is ConnectionState.DISCONNECTED
        assert self.connection.closed is not None
        return self.connection.closed

    def leave(self) -> ConnectionClosed:
        """Closes, if nobody has, and waits for the end."""
        self.client.close()
        return self.wait_gone()


def history_of(world: World, size: int) -> tuple[Person, str]:
    """Somebody who has said so much in the lobby, from "1" on, and the lobby's epoch."""
    bob = world.enter("bob")
    for i in range(size):
        bob.ask("message", room="lobby", message=str(i + 1))
    epoch = bob.ask("history", room="lobby")["epoch"]
    return bob, epoch


class Squatter:
    """Takes a permit and keeps it."""

    def __init__(self) -> None:
        self.seated = threading.Event()

    def wake(self) -> bool:
        """Has its turn, and ends it when the test says so."""
        self.seated.set()
        return True


@contextlib.contextmanager
def standstill(turnstile: Turnstile) -> Iterator[None]:
    """Nobody writes: all permits are taken."""
    squatters = [Squatter() for _ in range(turnstile.permits)]
    turnstile.enter(squatters)
    for squatter in squatters:
        assert squatter.seated.wait(PATIENCE)
    try:
        yield
    finally:
        for squatter in squatters:
            turnstile.leave(squatter, again=False)


@contextlib.contextmanager
def worlds(**settings: Any) -> Iterator[World]:
    """A World for a fixture."""
    with World(**settings) as world:
        yield world
