"""Tests of what happens to chats at the end of their process."""

from __future__ import annotations

import gc
import os
import subprocess
import sys

import pytest

from threadchat.server import shutdown

PROGRAM = """
import atexit, contextlib, threading
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from threadchat import Chat
from threadchat.server import shutdown

chat = Chat()
chat.listen(0)
client = connect(chat.url.replace("http", "ws") + "chat").__enter__()

def tell():
    with contextlib.suppress(ConnectionClosed):
        client.recv(timeout=20)
    print(client.close_code, flush=True)

teller = threading.Thread(target=tell, daemon=True)
teller.start()
atexit.unregister(shutdown.close_all)
atexit.register(teller.join, 20)  # called last
atexit.register(shutdown.close_all)
"""


class Chat:
    def __init__(self) -> None:
        self.closed = 0
        self.left_behind = 0

    def leave_behind(self) -> None:
        self.left_behind += 1

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutdown, "_in_use", type(shutdown._in_use)())


def test_what_is_in_use_is_closed() -> None:
    used, forgotten = Chat(), Chat()
    shutdown.close_at_exit(used)
    shutdown.close_at_exit(forgotten)
    shutdown.forget(forgotten)
    shutdown.forget(forgotten)
    shutdown.close_all()
    assert (used.closed, forgotten.closed) == (1, 0)


def test_the_end_of_a_forked_process_is_not_the_end_of_its_parents_chat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chat = Chat()
    shutdown.close_at_exit(chat)
    monkeypatch.setattr("threadchat.server.shutdown.os.getpid", lambda: -1)
    shutdown.close_all()
    assert not chat.closed


def test_a_forked_process_leaves_behind_what_is_in_use() -> None:
    used, unused = Chat(), Chat()
    shutdown.close_at_exit(used)
    child = os.fork()
    if not child:
        os._exit(10 * used.left_behind + unused.left_behind)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 10
    assert not used.left_behind


def test_one_that_fails_does_not_keep_the_others(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Chat):
        def close(self) -> None:
            raise ValueError("no")

    broken, chat = Broken(), Chat()
    shutdown.close_at_exit(broken)
    shutdown.close_at_exit(chat)
    shutdown.close_all()
    assert chat.closed == 1
    assert "could not be closed" in caplog.text


def test_a_chat_that_nobody_has_any_more_is_not_kept() -> None:
    shutdown.close_at_exit(Chat())
    gc.collect()
    assert not shutdown._in_use


def test_a_program_that_ends_says_goodbye() -> None:
    """A client of a program whose main thread returns sees 3001."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3001\n"
