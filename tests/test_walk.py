"""Holds the map of the code in docs/design.md to the code: the wings, and one message's way through them."""

from __future__ import annotations

import ast
import importlib
import re
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from tests.test_layers import FLOORS, PACKAGE
from tests.test_readme import table
from tests.wire.helpers import PATIENCE
from threadchat.testing import LiveServer, Peer

WINGS = [wing for floor in reversed(FLOORS) for wing in floor if (PACKAGE / wing / "__init__.py").is_file()]
WALK = [(thread, name.strip("`")) for _, thread, name, _ in table("One message, from socket to socket")[1:]]
READER = [name for thread, name in WALK if thread == "reader"]
WRITER = [name for thread, name in WALK if thread == "writer"]
SLEEP = "wire.outbox.Outbox.wait_for_permit"


def first_line(folder: Path) -> str:
    """The first line of a package's docstring."""
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    assert docstring is not None
    return docstring.partition("\n")[0]


def test_a_line_for_each_wing_as_its_docstring_says_it() -> None:
    expected = [[f"`{wing}/`", first_line(PACKAGE / wing)] for wing in WINGS]
    told = table("Folders")[1:]
    assert told == expected, "\n".join(f"| {wing} | {line} |" for wing, line in expected)


def resolved(name: str) -> Any:
    """The function of that name below `threadchat`: modules first, then attributes."""
    found: Any = importlib.import_module("threadchat")
    path = "threadchat"
    for part in name.split("."):
        path += f".{part}"
        try:
            found = importlib.import_module(path)
        except ModuleNotFoundError:
            found = getattr(found, part)
    return found


def test_the_walk_has_at_most_15_steps_of_two_threads() -> None:
    steps = [row[0] for row in table("One message, from socket to socket")[1:]]
    assert steps == [str(number) for number in range(1, len(WALK) + 1)]
    assert len(WALK) <= 15
    assert [name for _, name in WALK] == READER + WRITER


@pytest.mark.parametrize("name", READER + WRITER)
def test_each_step_is_a_function(name: str) -> None:
    assert isinstance(resolved(name).__code__, CodeType)


class Recorder:
    """Notes each call of a step, with the name of its thread, in every thread that starts while it is set.

    `_changed` guards `calls`.
    """

    def __init__(self) -> None:
        self._names = {resolved(name).__code__: name for name in (*READER, *WRITER, SLEEP)}
        self._changed = threading.Condition()
        self.calls: list[tuple[str, str]] = []

    def note(self, frame: FrameType, event: str, argument: object) -> None:
        """The profile function."""
        if event == "call" and (name := self._names.get(frame.f_code)) is not None:
            with self._changed:
                self.calls.append((threading.current_thread().name, name))
                self._changed.notify_all()

    def wait_until_writers_sleep(self) -> int:
        """Returns how many calls there were by then."""
        with self._changed:
            assert self._changed.wait_for(self._writers_sleep, PATIENCE)
            return len(self.calls)

    def _writers_sleep(self) -> bool:
        last = {thread: name for thread, name in self.calls if thread.startswith("writer")}
        return set(last.values()) == {SLEEP}


def test_one_message_goes_this_way() -> None:
    """Ann is not in the room, and her message has no id: only Bob's outbox gets something."""
    recorder = Recorder()
    before = threading.getprofile()
    threading.setprofile(recorder.note)  # before the server starts its threads
    try:
        with (
            LiveServer(ping_interval=80_000, pong_timeout=86_400) as server,  # no ping comes in between
            Peer(server.url) as ann,
            Peer(server.url) as bob,
        ):
            ann.ask("hello", nickname="ann")
            bob.ask("hello", nickname="bob")
            bob.ask("join", room="lobby")
            assert bob.next()["type"] == "join"
            start = recorder.wait_until_writers_sleep()
            ann.send({"type": "message", "room": "lobby", "message": "hi"})
            assert bob.next()["message"] == "hi"
            recorder.wait_until_writers_sleep()
            calls = list(recorder.calls)
    finally:
        threading.setprofile(before)
    # A reader begins to wait for its next message at any time; all other steps come one after the other.
    steps = [(thread, name) for thread, name in calls[start:] if name not in (*READER[:2], SLEEP)]
    assert [name for _, name in steps] == READER[2:] + WRITER
    readers = {thread for thread, _ in steps[: len(READER[2:])]}
    writers = {thread for thread, _ in steps[len(READER[2:]) :]}
    assert [len(readers), len(writers)] == [1, 1]
    [sender], [receiver] = readers, writers
    assert re.fullmatch(r"reader-\d+", sender)
    assert re.fullmatch(r"writer-\d+", receiver)
    assert sender.partition("-")[2] != receiver.partition("-")[2], "the writer is the subscriber's"
    by_sender = [name for thread, name in calls if thread == sender]
    while by_sender[-1] != READER[-1]:  # it waits for the next message already
        by_sender.pop()
    assert by_sender[-len(READER) :] == READER
