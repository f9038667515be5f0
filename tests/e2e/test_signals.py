"""What signals ask of a running server: its threads in the log, and what a closed terminal means."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.e2e.process import PATIENCE, START_LINE, ServerProcess, command, environment, free_port, until

Serve = Callable[..., ServerProcess]


def hello(client: Any, nickname: str) -> None:
    client.send(json.dumps({"type": "hello", "id": 1, "nickname": nickname}))
    assert json.loads(client.recv(PATIENCE))["type"] == "ok"


def test_sigusr1_logs_all_threads_with_their_connections(serve: Serve) -> None:
    server = serve("--log-level", "error")
    with connect(server.ws + "/chat") as ann, connect(server.ws + "/chat") as bob:
        hello(ann, "ann")
        hello(bob, "bob")

        def asked() -> bool:
            server.send_signal(signal.SIGUSR1)
            return re.search(r"reader: 2 at transport\.py", server.log()) is not None

        until(asked, "both readers to wait in one place")
        log = server.log()
        assert re.search(r"threads: \d+ in \d+ places; connections: 2\n", log)
        assert re.search(r"reader-\d <Connection \d user \d 'ann' IN_CHAT outbox=0/100>", log)
        assert re.search(r"writer: 2 at .*user \d 'bob'", log)
        assert re.search(r"accept: 1 at .*: accept-\d+\n", log)
        hello_again = json.dumps({"type": "ping", "id": 2})
        ann.send(hello_again)
        assert json.loads(ann.recv(PATIENCE))["re"] == 2
    assert server.stop() == 0


def test_json_tells_who_was_disconnected(serve: Serve) -> None:
    server = serve("--log-format", "json", "--log-level", "debug")
    with connect(server.ws + "/chat") as ann:
        hello(ann, "ann")
    until(lambda: "closed" in server.log(), "the end to be logged")
    assert server.stop() == 0
    lines = [json.loads(line) for line in server.log().splitlines()]
    [closed] = [line for line in lines if "closed: 1000" in line["message"]]
    assert (closed["connection"], closed["user"]) == (1, 1)
    assert {"time", "level", "logger", "message", "thread"} <= closed.keys()


def test_sighup_without_a_terminal_ends_nothing(chat_server: ServerProcess) -> None:
    chat_server.send_signal(signal.SIGHUP)
    with connect(chat_server.ws + "/chat") as ann:
        hello(ann, "ann")
    assert chat_server.stop() == 0


def test_sigusr2_has_python_print_all_stacks(chat_server: ServerProcess) -> None:
    chat_server.send_signal(signal.SIGUSR2)
    until(lambda: "most recent call first" in chat_server.log(), "the stacks to be printed")
    assert chat_server.stop() == 0


@pytest.fixture
def terminal() -> tuple[int, str]:
    """A terminal: our end of it, which is to be closed, and its name."""
    ours, theirs = pty.openpty()
    name = os.ttyname(theirs)
    os.close(theirs)
    return ours, name


def test_a_server_ends_in_order_with_its_terminal(terminal: tuple[int, str], tmp_path: Path) -> None:
    ours, name = terminal
    log = tmp_path / "log"
    told, tell = os.pipe()
    # To open a terminal is how a new session gets one.
    words = ["bash", "-c", 'exec <"$0" && exec "$@"', name, *command("--port", str(free_port()))]
    with log.open("w") as errors:
        server = subprocess.Popen(
            words, stdout=tell, stderr=errors, start_new_session=True, env=environment()
        )
    os.close(tell)
    try:
        with os.fdopen(told) as lines:
            assert START_LINE.fullmatch(lines.readline())
        os.close(ours)
        assert server.wait(PATIENCE) == 0
        assert "stopping: SIGHUP" in log.read_text()
    finally:
        server.kill()
        server.wait()


def test_a_server_that_was_stopped_for_a_while_sends_nobody_away(serve: Serve) -> None:
    """The time for a pong is over twice when it goes on; whoever answers then was never silent."""
    server = serve("--ping-interval", "0.5", "--pong-timeout", "1.5", "--log-level", "info")
    with connect(server.ws + "/chat", ping_interval=None) as ann:
        hello(ann, "ann")
        server.send_signal(signal.SIGSTOP)
        time.sleep(4)  # the server's time passes, and nothing but time
        server.send_signal(signal.SIGCONT)
        for number in range(2, 8):  # several times the time for a pong
            with pytest.raises(TimeoutError):
                ann.recv(0.5)
            ann.send(json.dumps({"type": "ping", "id": number}))
            assert json.loads(ann.recv(PATIENCE)) == {"type": "ok", "re": number}
    assert "3012" not in server.log()
    assert server.stop() == 0
