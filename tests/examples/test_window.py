"""Tries scripts/examples/window.py: what it says and hears without a screen, and its window on one."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.process import Child
from threadchat.client import ChatEvent, Client
from threadchat.testing import LiveServer, Peer

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "scripts" / "examples" / "window.py"
PATIENCE = 30

# Types a line as a person would, and prints what the window shows once the answer is there.
AT_THE_SCREEN = """
import runpy, sys
from threadchat.client import Client
example = runpy.run_path(sys.argv[1])
with Client(sys.argv[2], nickname="ann") as chat:
    window = example["Window"](example["Talk"](chat, "lobby"), "ann in lobby")
    window.entry.insert(0, "hello bob")
    window.entry.focus_force()
    window.root.update()
    window.entry.event_generate("<Return>")
    while "hello ann" not in window.shown.get("1.0", "end"):
        window.root.update()
    print(window.shown.get("1.0", "end").strip())
    assert window.entry.get() == ""
"""


@pytest.fixture
def example() -> dict[str, Any]:
    """The example's names."""
    pytest.importorskip("tkinter", reason="this Python was built without tkinter")
    return runpy.run_path(str(EXAMPLE))


@pytest.fixture
def screen(example: dict[str, Any]) -> Iterator[dict[str, str]]:
    """The environment of a program with a screen: the one there is, or one in memory."""
    if os.environ.get("DISPLAY"):
        yield {"DISPLAY": os.environ["DISPLAY"]}
        return
    xvfb = shutil.which("Xvfb")
    if xvfb is None:
        pytest.skip("no screen: neither DISPLAY nor Xvfb is there; apt-get install xvfb has one")
    readable, writable = os.pipe()
    command = [xvfb, "-displayfd", str(writable), "-screen", "0", "640x480x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[writable], stderr=subprocess.DEVNULL)
    try:
        os.close(writable)
        with open(readable) as numbers:
            yield {"DISPLAY": f":{numbers.readline().strip()}"}
    finally:
        server.terminate()
        server.wait(PATIENCE)


@pytest.fixture
def bob(threadchat_server: LiveServer, threadchat_peer: Callable[..., Peer]) -> Peer:
    """Somebody in the lobby already."""
    peer = threadchat_peer(threadchat_server.url)
    peer.ask("hello", nickname="bob")
    peer.ask("join", room="lobby")
    assert peer.next()["from"] == "bob"
    return peer


def start(screen: dict[str, str], *command: str) -> subprocess.Popen[str]:
    """A program of its own that has a screen."""
    environ = {**os.environ, **screen, "PYTHONPATH": str(ROOT)}
    return Child([sys.executable, *command], env=environ, text=True, stdout=subprocess.PIPE)


def test_what_is_said_and_heard(example: dict[str, Any], threadchat_server: LiveServer, bob: Peer) -> None:
    with Client(threadchat_server.url, nickname="ann") as chat:
        talk = example["Talk"](chat, "lobby")
        talk.say("hello bob")
        assert [bob.next().get("message") for _ in range(2)] == [None, "hello bob"]
        bob.ask("message", room="lobby", message="hello ann")
        heard = [talk.heard.get(timeout=PATIENCE) for _ in range(3)]
    assert heard == ["* ann join", "ann: hello bob", "bob: hello ann"]
    talk.say("too late")
    assert talk.heard.get(timeout=PATIENCE).startswith("* not said: ")


def test_how_events_are_shown(example: dict[str, Any]) -> None:
    line = example["line"]
    assert line(ChatEvent(type="leave", nickname="ann")) == "* ann leave"
    assert line(ChatEvent(type="disconnected", message="connection lost")) == "* disconnected connection lost"
    assert line(ChatEvent(type="message", nickname="ann", message="* hi")) == "ann: * hi"


def test_a_line_is_typed_and_the_answer_shown(
    screen: dict[str, str], threadchat_server: LiveServer, bob: Peer
) -> None:
    with start(screen, "-c", AT_THE_SCREEN, str(EXAMPLE), threadchat_server.url) as window:
        assert [bob.next().get("message") for _ in range(2)] == [None, "hello bob"]
        bob.ask("message", room="lobby", message="hello ann")
        shown, _ = window.communicate(timeout=PATIENCE)
    assert window.returncode == 0
    assert shown.splitlines() == ["* ann join", "ann: hello bob", "bob: hello ann"]


def test_the_program_as_it_is(screen: dict[str, str], threadchat_server: LiveServer, bob: Peer) -> None:
    with start(screen, str(EXAMPLE), threadchat_server.url, "ann", "lobby") as window:
        event = bob.next()
        assert (event["type"], event["from"]) == ("join", "ann")
        window.terminate()
        window.communicate(timeout=PATIENCE)
        assert bob.next()["type"] == "leave"


def test_it_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 80
