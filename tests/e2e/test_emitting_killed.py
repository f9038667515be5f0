"""600 events and 200 calls over two kills of the server: each once, and in order; an inbox too."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.ports import free_port
from tests.client.fakes import Doing
from tests.e2e.emitter import KEY
from tests.e2e.process import PATIENCE, environment, until
from tests.e2e.test_client import at_once
from threadchat import Client, CommandError

PROGRAM = Path(__file__).with_name("emitter.py")
EMITTED, CALLED, TOLD = 600, 200, 100


class Program:
    """The process, on the same port again after each kill."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, str(PROGRAM), str(self.port), str(folder / "chat.db")]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, env=environment())
        until(self._listens, "the program to listen")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except OSError:
            return False
        return True


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    made = Program(tmp_path)
    yield made
    made.kill()


def persist(action: Any) -> Any:
    """Tries again whatever may have been done, or not: the keys see to it that it is done once."""
    while True:
        try:
            return action()
        except CommandError as error:
            if not error.temporary:
                raise
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 503:
                raise
        except OSError:
            pass


def emit(program: Program, **fields: object) -> int:
    body, headers = json.dumps(fields).encode(), {"X-API-Key": KEY, "Content-Type": "application/json"}
    request = urllib.request.Request(f"{program.url}/api/emit", body, headers)
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return int(json.load(response)["offset"])


def test_each_once_and_in_order(program: Program) -> None:
    def enter(user: str) -> Client:
        return Client(
            program.url, user, headers={"X-User": user}, backoff=at_once(), timeout=PATIENCE, events=2000
        )

    marks = [threading.Event(), threading.Event()]

    def emits() -> list[int]:
        places = []
        for number in range(EMITTED):
            if number in (200, 400):
                marks[number // 200 - 1].set()
            key = f"event-{number}"
            places.append(persist(lambda: emit(program, room="r", name="e", data=number, key=key)))  # noqa: B023
            if number % (EMITTED // TOLD) == 0:
                persist(lambda: emit(program, user="listener", name="notice", data=number, key=key))  # noqa: B023
        return places

    def listen(client: Client) -> dict[str, list[Any]]:
        heard: dict[str, list[Any]] = {"e": [], "called": [], "notice": []}
        while sum(map(len, heard.values())) < EMITTED + CALLED + TOLD:
            event = client.next_event(PATIENCE)
            assert event.type not in ("gap", "reset"), event
            if event.type == "event":
                heard[event.name].append(event.data)
        return heard

    with enter("listener") as listener, enter("caller") as caller:
        for room in ("r", "calls"):
            listener.subscribe(room)
        listening = Doing(lambda: listen(listener), PATIENCE * 3)
        emitting = Doing(emits, PATIENCE * 3)
        calling = Doing(
            lambda: [persist(lambda: caller.call("count", number)) for number in range(CALLED)],  # noqa: B023
            PATIENCE * 3,
        )
        for mark in marks:
            assert mark.wait(PATIENCE)
            program.kill()
            program.start()
        assert emitting.result() == list(range(1, EMITTED + 1))
        assert calling.result() == list(range(1, CALLED + 1))
        heard = listening.result()
    assert heard["e"] == list(range(EMITTED))
    assert heard["called"] == list(range(CALLED))
    assert heard["notice"] == list(range(0, EMITTED, EMITTED // TOLD))
