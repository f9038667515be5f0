"""Runs scripts/examples/bot.py in a room, over a restart of its server."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from scripts.ports import free_port
from tests.e2e.process import Child, ServerProcess, environment, until
from tests.mounted.host import EXAMPLES, ROOT
from threadchat.client import Backoff, Client

PATIENCE = 20.0


def start(*words: str) -> subprocess.Popen[str]:
    return Child(
        [sys.executable, str(EXAMPLES / "bot.py"), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment({"PYTHONPATH": str(ROOT)}),
    )


@pytest.fixture
def bot(chat_server: ServerProcess) -> Iterator[subprocess.Popen[str]]:
    process = start(f"{chat_server.ws}/chat", "lobby")
    assert process.stdout is not None
    assert process.stdout.readline() == "counter is in lobby\n"
    yield process
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (130, "")


def hear(chat: Client, text: str) -> int | str | None:
    """Takes events until somebody says something; returns who that was."""
    while (event := chat.next_event(PATIENCE)).message != text:
        pass
    return event.user


@pytest.mark.usefixtures("bot")
def test_it_answers_counts_and_survives_a_restart(chat_server: ServerProcess) -> None:
    with Client(chat_server.url, "ann", backoff=Backoff(0.1, 0.2), timeout=PATIENCE) as ann:
        ann.subscribe("lobby")
        ann.message("lobby", "hello")
        ann.message("lobby", "!count")
        user = hear(ann, "ann 2")
        ann.message("lobby", "!who")
        hear(ann, "counter")
        assert user is not None
        ann.direct(user, "hi")
        hear(ann, "I talk in rooms only")
        chat_server.restart()
        ann.message("lobby", "!count")
        # It counts what it heard: not the question that was asked before it was back, if it was not.
        until(lambda: any(person.nickname == "counter" for person in ann.who("lobby")), "the bot is back")
        ann.message("lobby", "!count")
        while not (event := ann.next_event(PATIENCE)).message.startswith("ann "):
            pass
        assert event.message in ("ann 4", "ann 5")


def test_without_a_server_it_says_so() -> None:
    process = start(f"ws://127.0.0.1:{free_port()}/chat", "lobby")
    out, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (1, "")
    assert "Connection refused" in errors
