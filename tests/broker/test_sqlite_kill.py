"""A process that publishes is killed at any moment: what `broker/sqlite/` has answered is there then."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.broker.brokers import opened
from tests.chat.helpers import say
from tests.e2e.process import Child
from threadchat.broker.sqlite import SqliteBroker
from threadchat.chat.log.events import MESSAGE, Draft

ROOMS = ("r", "s")
KILLS = 8

# Four threads, each in both rooms; a line on stdout for everything that was answered, in one write each.
PUBLISHER = f"""
import os, sys, threading
from threadchat.broker.sqlite import SqliteBroker
from threadchat.chat.log.events import MESSAGE, Draft
broker = SqliteBroker(sys.argv[1], history_size=1_000_000)
life = sys.argv[2]
channels = [(name, broker.open(name)) for name in {ROOMS}]
def publish(thread):
    for turn in range(1_000_000):
        for name, channel in channels:
            text = f"{{life}}-{{thread}}-{{turn}}"
            for position in channel.publish([Draft({MESSAGE!r}, thread, "", text, "", text)] * 2)[:1]:
                answer = f"{{name}} {{position.epoch}} {{position.offset}} {{text}} {{broker.new_user()}}"
                os.write(1, answer.encode() + b"\\n")
threads = [threading.Thread(target=publish, args=(thread,)) for thread in range(4)]
[thread.start() for thread in threads]
"""


class Answer(NamedTuple):
    """What a publisher was told."""

    room: str
    epoch: str
    offset: int
    text: str
    user: int


def killed_after(path: Path, life: int, lines: int) -> list[Answer]:
    """Lets a process publish until it has answered so often; returns all that it had answered then."""
    command = [sys.executable, "-c", PUBLISHER, str(path), str(life)]
    with Child(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        answered = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        answered += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    told = [line.split() for line in answered if line.endswith("\n")]
    return [Answer(room, epoch, int(offset), text, int(user)) for room, epoch, offset, text, user in told]


@pytest.mark.timeout(120)
def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    chance = random.Random(7)
    told: list[Answer] = []
    for life in range(KILLS):
        told += killed_after(path, life, chance.randrange(1, 120))
    with contextlib.closing(SqliteBroker(path, history_size=1_000_000)) as broker:
        for name in ROOMS:
            mine = [answer for answer in told if answer.room == name]
            room = opened(broker, name)
            assert {answer.epoch for answer in mine} == {room.epoch}
            logged = {item.event.id: item.event.message for item in room.outlet.records}
            assert list(logged) == list(range(1, len(logged) + 1)), "no hole, and nothing twice"
            assert len(set(logged.values())) == len(logged), "a key is published once"
            assert {answer.offset: answer.text for answer in mine}.items() <= logged.items()
            # A client that was not answered says it again, with its key.
            last = room.outlet.records[-1].event
            again = Draft(MESSAGE, last.user, "", last.message, "", last.message)
            assert room.put(again, *say("on")) == [last.id, last.id + 1]
        users = [answer.user for answer in told]
        assert len(set(users)) == len(users)
        assert broker.new_user() > max(users)
