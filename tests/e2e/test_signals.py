"""What signals ask of a running server: its threads in the log, and what a closed terminal means."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.broker.redis_server import EXECUTABLE, RedisServer
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
            log = server.log()
            waiting = (r"reader: 2 at transport\.py", r"writer: 2 at .*user \d 'bob'")
            return all(re.search(line, log) for line in waiting)

        until(asked, "both readers to wait in one place, and both writers")
        log = server.log()
        assert re.search(r"threads: \d+ in \d+ places; connections: 2\n", log)
        assert re.search(r"reader-\d <Connection \d user \d 'ann' IN_CHAT outbox=0/100>", log)
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


# -- signals that are ignored at the start -------------------------------------------------------------


def ignoring(names: str, *arguments: str) -> list[str]:
    """A command line that runs another one with signals ignored, as `nohup` does it."""
    return ["sh", "-c", f"trap '' {names}; exec \"$@\"", "sh", *arguments]


def answers(port: int) -> None:
    with connect(f"ws://127.0.0.1:{port}/chat") as ann:
        hello(ann, "ann")


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    if not EXECUTABLE:
        pytest.skip("workers share a Redis: redis-server is not installed")
    redis = RedisServer(tmp_path, lasting=False)
    yield redis.url
    redis.kill()


def workers_of(pid: int) -> list[int]:
    return [int(it) for it in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def run_ignoring(names: str, *arguments: str) -> tuple[subprocess.Popen[str], int]:
    """A server that listens, and its port."""
    port = free_port()
    server = subprocess.Popen(
        ignoring(names, *command("--port", str(port), *arguments)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
        text=True,
    )
    assert server.stdout is not None
    assert START_LINE.fullmatch(server.stdout.readline())
    return server, port


def test_signals_that_were_ignored_stay_so() -> None:
    server, port = run_ignoring("HUP INT USR1 USR2")
    with server:
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            server.send_signal(number)
        answers(port)
        server.terminate()
        assert server.wait(PATIENCE) == 0


def test_a_server_under_nohup_outlives_its_terminal(terminal: tuple[int, str], tmp_path: Path) -> None:
    ours, name = terminal
    told, tell = os.pipe()
    port = free_port()
    words = ["bash", "-c", 'exec <"$0" && exec "$@"', name]
    server = subprocess.Popen(
        [*words, *ignoring("HUP", *command("--port", str(port)))],
        stdout=tell,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=environment(),
    )
    os.close(tell)
    with os.fdopen(told) as lines, server:
        assert START_LINE.fullmatch(lines.readline())
        os.close(ours)
        answers(port)
        server.terminate()
        assert server.wait(PATIENCE) == 0


@pytest.mark.parametrize(("names", "stop"), [("HUP INT", signal.SIGTERM), ("HUP TERM", signal.SIGINT)])
def test_workers_and_their_supervisor_leave_ignored_signals_ignored(
    redis_url: str, names: str, stop: signal.Signals
) -> None:
    server, port = run_ignoring(names, "--workers", "2", "--broker", redis_url)
    with server:
        pids = workers_of(server.pid)
        for name in names.split():
            server.send_signal(signal.Signals[f"SIG{name}"])
        for pid in pids:
            os.kill(pid, signal.SIGHUP)
        answers(port)
        assert workers_of(server.pid) == pids
        server.send_signal(stop)
        assert server.wait(PATIENCE) == 0


# -- output that nobody reads --------------------------------------------------------------------------


def full_pipe() -> tuple[int, int]:
    """A pipe into which no byte fits any more."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    for portion in (4096, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, b"." * portion)
    os.set_blocking(writing, True)  # shared with the process that gets it
    return reading, writing


def serves_and_ends(server: subprocess.Popen[bytes], port: int) -> None:
    """Many handshakes and goodbyes are logged; then SIGTERM ends the server in order."""
    try:
        until(lambda: listens(port), "the server to listen")
        for _ in range(30):
            answers(port)
        server.terminate()
        assert server.wait(PATIENCE) == 0
    finally:
        server.kill()
        server.wait()


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), PATIENCE):
        return True
    return False


def test_a_server_whose_output_nobody_reads(tmp_path: Path) -> None:
    port, (reading, writing) = free_port(), full_pipe()
    try:
        fifo = tmp_path / "events"  # nobody reads the event log either
        os.mkfifo(fifo)
        arguments = command("--port", str(port), "--log-level", "debug", "--event-log", str(fifo))
        server = subprocess.Popen(arguments, stdout=writing, stderr=writing, env=environment())
        os.close(writing)
        serves_and_ends(server, port)
    finally:
        os.close(reading)


def test_workers_whose_log_nobody_reads(redis_url: str) -> None:
    port, (reading, writing) = free_port(), full_pipe()
    arguments = command("--port", str(port), "--log-level", "debug", "--workers", "2", "--broker", redis_url)
    server = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=writing, env=environment())
    os.close(writing)
    assert server.stdout is not None
    try:
        assert START_LINE.fullmatch(server.stdout.readline().decode())
        [first, second] = workers_of(server.pid)
        os.kill(first, signal.SIGKILL)  # the supervisor logs that, and goes on
        until(lambda: set(workers_of(server.pid)) - {first, second} != set(), "another worker")
        serves_and_ends(server, port)
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
        os.close(reading)


def test_a_terminal_that_is_stopped(terminal: tuple[int, str]) -> None:
    ours, name = terminal
    port = free_port()
    words = ["bash", "-c", 'exec >"$0" 2>"$0" <"$0" && exec "$@"', name]
    server = subprocess.Popen(
        [*words, *command("--port", str(port), "--log-level", "debug")],
        start_new_session=True,
        env=environment(),
    )
    until(lambda: listens(port), "the server to listen")
    os.write(ours, b"\x13")  # Ctrl-S
    serves_and_ends(server, port)
    os.close(ours)


def test_what_nobody_read_is_counted_where_reading_goes_on() -> None:
    port, (reading, writing) = free_port(), full_pipe()
    arguments = command("--port", str(port), "--log-level", "debug")
    server = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=writing, env=environment())
    os.close(writing)
    until(lambda: listens(port), "the server to listen")
    answers(port)
    with os.fdopen(reading, "rb") as lines, server:
        server.terminate()
        text = lines.read()
        assert server.wait(PATIENCE) == 0
    assert b"stopping: SIGTERM" in text
