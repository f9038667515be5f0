"""Tests of what plain connections share: slots, the pinger's life, forks, and the end of a program."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from tests.plain.helpers import LOOPBACK, served, serving, url
from threadchat.plain.engine import ENGINE, Engine
from threadchat.wire.pinger import Pinger


class Member:
    """Notes how it was closed."""

    def __init__(self, *, stays: bool = False) -> None:
        self.gone = threading.Event()
        self.closed: list[int] = []
        self._stays = stays

    def close(self, code: int, reason: str) -> None:
        self.closed.append(code)
        if not self._stays:
            self.gone.set()


def test_connections_share_one_turnstile_and_one_pinger() -> None:
    engine = Engine()
    first, second = engine.enter(), engine.enter()
    assert first.number != second.number
    assert first.turnstile is second.turnstile
    assert first.pinger is second.pinger
    engine.leave(first.number)
    engine.leave(second.number)


def test_the_pinger_ends_with_the_last_connection_and_a_new_one_starts_with_the_next() -> None:
    pingers: list[Pinger] = []

    def make() -> Pinger:
        pingers.append(Pinger())
        return pingers[-1]

    engine = Engine(make)
    for count in (1, 2):
        slots = [engine.enter() for _ in range(2)]
        slots[0].pinger.call_later(3600, lambda: None)
        thread = pingers[-1]._thread
        assert thread is not None
        engine.leave(slots[0].number)
        assert thread.is_alive()
        engine.leave(slots[1].number)
        assert not thread.is_alive()
        assert len(pingers) == count


def test_leaving_twice_is_leaving_once() -> None:
    engine = Engine()
    slot, other = engine.enter(), engine.enter()
    engine.leave(slot.number)
    engine.leave(slot.number)
    assert other.pinger is engine.enter().pinger


def test_at_the_end_all_are_closed_and_waited_for() -> None:
    engine = Engine()
    members = [Member(), Member(stays=True)]
    for member in members:
        engine.introduce(engine.enter().number, member)
    engine.enter()  # nobody yet: one that is being opened
    engine.end(timeout=0.01)
    assert [member.closed for member in members] == [[1001], [1001]]


def test_a_connection_is_counted_for_as_long_as_it_lives() -> None:
    with served() as scene:
        assert list(scene.engine._slots.values()) == [scene.threaded]
    assert scene.engine._slots == {}


def test_who_is_gone_is_not_introduced() -> None:
    engine = Engine()
    slot = engine.enter()
    engine.leave(slot.number)
    engine.introduce(slot.number, Member())
    assert engine._slots == {}


def test_a_forked_child_starts_anew() -> None:
    """In a process of its own: the parent has a connection open, the child opens others."""
    program = """
import os, threading
from threadchat import connect, serve

def echo(websocket):
    for message in websocket:
        websocket.send(message)

def use():
    with serve(echo, "127.0.0.1", 0) as server, connect(f"ws://127.0.0.1:{server.port}") as websocket:
        websocket.send("hello")
        assert websocket.recv(20) == "hello"
        child = os.fork() if os.getpid() == parent else None
        if child == 0:
            try:
                use()
            except BaseException:
                os._exit(1)
            os._exit(7)
        if child is not None:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            websocket.send("again")
            assert websocket.recv(20) == "again"

parent = os.getpid()
use()
print("done")
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, text=True, timeout=60
    )
    assert (ran.stdout, ran.returncode) == ("done\n", 0), ran.stderr


@pytest.mark.parametrize("end", ["", "raise SystemExit"])
def test_a_program_that_ends_has_said_what_it_sent(end: str) -> None:
    got: list[object] = []
    done = threading.Event()

    def handler(websocket: object) -> None:
        got.extend(websocket)  # type: ignore[call-overload]
        got.append(websocket.close_code)  # type: ignore[attr-defined]
        done.set()

    with serving(handler) as server:
        program = f"""
from threadchat import connect
websocket = connect("ws://{LOOPBACK}:{server.port}")
for number in range(300):
    websocket.send(str(number))
{end}
"""
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
        assert done.wait(20)
    assert got == [*map(str, range(300)), 1001]


def test_this_process_has_one() -> None:
    from threadchat import connect

    with serving(lambda websocket: websocket.recv()) as server, connect(url(server)) as websocket:
        assert websocket.threaded.connection.line is ENGINE.turnstile
