"""A server that a test plays by hand: every frame the client sends is looked at, every answer is chosen."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable
from typing import Any

from threadchat.client import Backoff, Client
from threadchat.errors import ConnectionClosed

PATIENCE = 10.0  # seconds until something that does not come fails its test

Frame = dict[str, Any]


class FakeLink:
    """One WebSocket: the client's end (`send`, `recv`, `close`) and the test's (`say`, `heard`, `cut`)."""

    def __init__(self) -> None:
        self._incoming: queue.Queue[str | ConnectionClosed] = queue.Queue()
        self._outgoing: queue.Queue[Frame] = queue.Queue()
        self._end: ConnectionClosed | None = None

    # The client's end

    def send(self, message: str) -> None:
        if self._end is not None:
            raise self._end
        self._outgoing.put(json.loads(message))

    def recv(self, timeout: float | None = None) -> str:
        try:
            message = self._incoming.get(timeout=PATIENCE * 3 if timeout is None else timeout)
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(message, ConnectionClosed):
            self._incoming.put(message)
            raise message
        return message

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.cut(code, reason)

    # The test's end

    def heard(self, command: str) -> Frame:
        """The next frame that the client sends, which is this command."""
        frame = self._outgoing.get(timeout=PATIENCE)
        assert frame["type"] == command, frame
        return frame

    def silent(self) -> bool:
        """Whether the client has sent nothing that was not heard."""
        return self._outgoing.empty()

    def say(self, **frame: Any) -> None:
        """Sends the client a frame; `sender` stands for `from`."""
        if "sender" in frame:
            frame["from"] = frame.pop("sender")
        self._incoming.put(json.dumps(frame))

    def raw(self, text: str) -> None:
        """Sends the client any text."""
        self._incoming.put(text)

    def reply(self, frame: Frame, **fields: Any) -> None:
        """Says ok to a command."""
        self.say(type="ok", re=frame["id"], **fields)

    def refuse(self, frame: Frame, code: int, *, temporary: bool = False) -> None:
        """Says no to a command."""
        self.say(type="error", re=frame["id"], code=code, reason="no", temporary=temporary)

    def event(self, number: int, room: str = "lobby", text: str = "hi") -> None:
        """Sends a message's event."""
        self.say(id=number, chatroomId=room, type="message", userId=7, sender="bob", message=text, unixTime=1)

    def cut(self, code: int = 1006, reason: str = "") -> None:
        """Ends the connection, after what was said."""
        if self._end is None:
            self._end = ConnectionClosed(code, reason)
            self._incoming.put(self._end)

    def welcome(self, user: int = 1, *, resumed: str | None = None) -> Frame:
        """Answers hello."""
        hello = self.heard("hello")
        assert hello.get("resume") == resumed
        self.reply(hello, user=user, session="s", resume=f"proof-{user}", version="0")
        return hello

    def let_in(self, command: str = "join", offset: int = 0, epoch: str = "e", **fields: Any) -> Frame:
        """Answers a join or subscribe."""
        frame = self.heard(command)
        self.reply(frame, offset=offset, epoch=epoch, **fields)
        return frame


class FakeServer:
    """Opens links, or refuses to, as the test says."""

    def __init__(self) -> None:
        self._links: queue.Queue[FakeLink | Exception] = queue.Queue()
        self.opened: list[str] = []

    def next_link(self) -> FakeLink:
        """The connection that the client will get at its next attempt."""
        link = FakeLink()
        self._links.put(link)
        return link

    def refuse(self, error: Exception) -> None:
        """The next attempt fails."""
        self._links.put(error)

    def open(self, url: str, timeout: float) -> FakeLink:
        """The client's opener."""
        self.opened.append(url)
        link = self._links.get(timeout=PATIENCE)
        if isinstance(link, Exception):
            raise link
        return link


class Doing:
    """A call on a thread of its own, whose outcome is asked for later."""

    def __init__(self, call: Callable[[], Any], patience: float = PATIENCE) -> None:
        self._call = call
        self._patience = patience
        self._outcome: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self.run, name="doing", daemon=True)
        self._thread.start()

    def run(self) -> None:
        try:
            self._outcome = self._call()
        except BaseException as error:  # handed to the test
            self._error = error

    def result(self) -> Any:
        """What the call returned, or raises what it raised."""
        self._thread.join(self._patience)
        assert not self._thread.is_alive(), "the call does not end"
        if self._error is not None:
            raise self._error
        return self._outcome


def client(server: FakeServer, **options: Any) -> Client:
    """A client of `server` that comes back at once."""
    options.setdefault("backoff", Backoff(jitter=lambda: 0.0))
    return Client("ws://fake", "ann", opener=server.open, **{"timeout": PATIENCE, **options})


def online(server: FakeServer, **options: Any) -> tuple[Client, FakeLink]:
    """A client with its first connection."""
    link = server.next_link()
    opening = Doing(lambda: client(server, **options))
    link.welcome()
    return opening.result(), link


def in_room(server: FakeServer, offset: int = 0, **options: Any) -> tuple[Client, FakeLink]:
    """A client that joined the lobby."""
    chat, link = online(server, **options)
    joining = Doing(lambda: chat.join("lobby"))
    link.let_in(offset=offset)
    joining.result()
    return chat, link
