"""Who takes part in the tests of the page: people at windows of a browser, and a bot that writes a lot."""

from __future__ import annotations

import contextlib
import json
from typing import Any
from urllib.parse import urlsplit

from websockets.sync.client import ClientConnection, connect

from tests.e2e.browser import Person


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


class Room:
    """A browser full of people: `enter` opens one more window of it."""

    def __init__(self, driver: Any, url: str) -> None:
        self.driver = driver
        self.url = url
        self.people: list[Person] = []

    def window(self, path: str = "/", url: str = "") -> Person:
        person = Person(self.driver, (url or self.url) + path)
        self.people.append(person)
        return person

    def enter(self, nickname: str, path: str = "/", url: str = "") -> Person:
        return self.window(path, url).enter(nickname)

    def complaints(self) -> list[str]:
        """What the browser found wrong since the last look: errors, warnings, violations of the policy."""
        return [f"{entry['level']} {entry['message']}" for entry in self.driver.get_log("browser")]


class Bot:
    """Somebody without a browser, who can write a lot."""

    def __init__(self, port: int, nickname: str, **hello: object) -> None:
        self._open = contextlib.ExitStack()
        url = f"ws://127.0.0.1:{port}/chat"
        self._socket: ClientConnection = self._open.enter_context(connect(url))
        self.directs: list[str] = []  # what others wrote to it privately, as far as `ask` has read
        self.hello = self.ask(type="hello", nickname=nickname, **hello)
        self.user: int = self.hello["user"]

    def ask(self, **command: object) -> dict[str, Any]:
        self._socket.send(json.dumps({"id": "question", **command}))
        while True:
            frame: dict[str, Any] = json.loads(self._socket.recv(timeout=10))
            if frame["type"] == "direct":
                self.directs.append(frame["message"])
            if frame.get("re") == "question":
                assert frame["type"] == "ok", frame
                return frame

    def say(self, *texts: str, room: str = "lobby") -> None:
        for text in texts:
            self.ask(type="message", room=room, message=text)

    def texts(self, room: str = "lobby") -> list[str]:
        events = self.ask(type="history", room=room)["events"]
        return [event["message"] for event in events if event["type"] == "message"]

    def close(self) -> None:
        self._open.close()
