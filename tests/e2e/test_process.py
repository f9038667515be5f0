"""The server as a process: its start, its settings, its end, and what it does about a shortage."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.crowd import Crowd, Member
from tests.e2e.process import PATIENCE, START_LINE, Child, ServerProcess, command, environment, until
from tests.e2e.talker import Talker
from threadchat.errors import CloseCode

Serve = Callable[..., ServerProcess]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a server that is expected to end by itself."""
    return subprocess.run(
        command(*arguments), env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False
    )


# The start


def test_the_start_line_says_where_the_page_is() -> None:
    with Child(
        command("--port", "0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        line = START_LINE.fullmatch(process.stdout.readline())
        assert line is not None
        address = line[1].removeprefix("http://").rstrip("/")
        connection = http.client.HTTPConnection(address, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() == b"ok"
        process.terminate()
        assert process.stdout.read() == ""  # one line, and no other
        assert process.wait(PATIENCE) == 0


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run("--port", str(port))
    assert ended.returncode == 1
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"threadchat: 127.0.0.1 port {port} is in use")


def test_a_wrong_value_is_one_clear_line() -> None:
    ended = run("--hello-timeout", "-3")
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line == "threadchat: --hello-timeout -3: must be above 0 and at most 86400"


# Settings


def test_flags_environment_and_file_reach_the_server(serve: Serve, tmp_path: Path) -> None:
    settings = tmp_path / "chat.toml"
    settings.write_text("history_size = 3\nmax_message_size = 200\nhello_timeout = 50\n")
    environ = {"THREADCHAT_MAX_MESSAGE_SIZE": "2000", "THREADCHAT_HELLO_TIMEOUT": "40"}
    server = serve("--config", str(settings), "--hello-timeout", "1", environ=environ)
    with Talker(server.ws) as ann, Talker(server.ws) as stranger:
        ann.hello("ann")
        for _ in range(5):
            ann.ask("message", room="lobby", message="x" * 1000)
        assert ann.ask("count", room="lobby") == {"count": 3}  # the file's
        ann.socket.send("x" * 2001)
        assert ann.close_code() == CloseCode.MESSAGE_TOO_BIG  # the environment's
        assert stranger.close_code() == CloseCode.STALE  # the flag's


# The end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_an_idle_server(serve: Serve, number: signal.Signals) -> None:
    server = serve()
    assert server.stop(number) == 0
    assert f"stopping: {number.name}" in server.log()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("path", ["/", "/ws", "/chat"])
def test_a_signal_says_goodbye_to_everybody(serve: Serve, number: signal.Signals, path: str) -> None:
    server = serve()
    with Talker(server.ws, path) as one, Talker(server.ws, path) as two:
        server.send_signal(number)
        assert one.close_code() == two.close_code() == CloseCode.SHUTDOWN
        assert server.wait() == 0


def test_a_request_that_never_comes_does_not_hold_up_the_end(serve: Serve) -> None:
    server = serve("--request-timeout", "3600", "--drain-timeout", "60")
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as silent:
        silent.sendall(b"GET / HT")
        until(lambda: server.threads() >= 3, "the connection's thread")
        assert server.stop() == 0


def test_what_was_queued_comes_before_the_goodbye(serve: Serve) -> None:
    server = serve("--drain-timeout", "20")
    with Crowd(server.port) as crowd:
        (sender,) = crowd.enter(1, "lobby")
        (reader,) = crowd.enter(1, "lobby", receive_buffer=4096)
        reader.pace = 0
        # More than socket buffers hold, less than an outbox does: some of it is still in the outbox.
        said = [f"{number} {'x' * 8000}" for number in range(70)]
        sender.say("lobby", said)
        crowd.ask(sender, "ping")  # everything was published before its answer
        server.send_signal(signal.SIGTERM)
        reader.pace = None
        crowd.run(lambda: reader.closed is not None and sender.closed is not None)
        assert reader.closed == sender.closed == CloseCode.SHUTDOWN
        assert reader.messages == said
        assert not reader.faults
        assert server.wait() == 0


def flood_one_that_never_reads(crowd: Crowd) -> Member:
    """Leaves a goodbye something to wait for; returns the one who said it all."""
    (stalled,) = crowd.enter(1, "lobby", receive_buffer=4096)
    (sender,) = crowd.enter(1, "lobby")
    stalled.pace = 0
    sender.say("lobby", ["x" * 8000 for _ in range(70)])
    crowd.ask(sender, "ping")
    return sender


def test_a_peer_that_never_reads_does_not_hold_up_the_end(serve: Serve) -> None:
    server = serve()
    with Crowd(server.port) as crowd:
        sender = flood_one_that_never_reads(crowd)
        server.send_signal(signal.SIGTERM)
        crowd.run(lambda: sender.closed is not None)
        assert sender.closed == CloseCode.SHUTDOWN
        assert server.wait() == 0


def test_a_second_interrupt_ends_at_once(serve: Serve) -> None:
    server = serve()
    with Crowd(server.port) as crowd:
        flood_one_that_never_reads(crowd)
        server.send_signal(signal.SIGINT)  # the goodbye waits for the stalled peer
        until(lambda: "stopping: SIGINT" in server.log(), "the first signal's line in the log")
        server.send_signal(signal.SIGINT)
        assert server.wait() == 130


def test_a_new_server_is_a_new_epoch(serve: Serve) -> None:
    server = serve()
    with Talker(server.ws) as ann:
        resume = ann.hello("ann")["resume"]
        old = ann.ask("join", room="lobby")
        ann.next()
        server.restart()
        assert ann.close_code() == CloseCode.SHUTDOWN
    with Talker(server.ws) as bob, Talker(server.ws) as ann:
        bob.hello("bob")
        bob.ask("join", room="lobby")
        assert ann.ask("hello", nickname="ann", resume=resume)["user"] == 2  # that of another server's key
        reply = ann.ask("join", room="lobby", since={"offset": 1, "epoch": old["epoch"]})
        assert reply["recovered"] is False
        assert reply["epoch"] != old["epoch"]
        frames = [ann.next(), ann.next()]
        assert sorted(frame["type"] for frame in frames) == ["join", "live"]


# The event log


def test_every_event_is_a_line_of_the_event_log(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    server = serve("--event-log", str(path))
    with Talker(server.ws) as ann:
        ann.hello("ann")
        ann.ask("join", room="lobby")
        ann.ask("message", room="lobby", message="line\nbreak")
        seen = [ann.next(), ann.next()]
    server.stop()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[:2] == seen
    assert [(line["id"], line["type"]) for line in lines[2:]] == [(3, "leave"), (4, "close")]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a disk that is always full")
def test_a_full_disk_harms_nobody(serve: Serve) -> None:
    server = serve("--event-log", "/dev/full")
    with Talker(server.ws) as ann:
        ann.hello("ann")
        ann.ask("join", room="lobby")
        ann.next()
        for number in range(50):
            ann.ask("message", room="lobby", message=str(number))
        assert [ann.next()["message"] for _ in range(50)] == list(map(str, range(50)))
    assert server.stop() == 0
    complaints = [line for line in server.log().splitlines() if "ERROR" in line]
    assert len(complaints) == 2  # when it began, and what it came to
    assert "event log /dev/full: " in complaints[0]
    assert "No space left on device" in complaints[0]


def test_an_event_log_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    path = tmp_path / "a file" / "events.jsonl"
    ended = run("--port", "0", "--event-log", str(path))
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr == f"threadchat: event log {path}: File exists\n"


# HTTP


@pytest.mark.parametrize(
    ("method", "path", "status", "content_type"),
    [
        ("GET", "/", 200, "text/html; charset=utf-8"),
        ("HEAD", "/", 200, "text/html; charset=utf-8"),
        ("GET", "/healthz", 200, "text/plain; charset=utf-8"),
        ("GET", "/nowhere", 404, "text/plain; charset=utf-8"),
        ("GET", "/page/../../../etc/passwd", 404, "text/plain; charset=utf-8"),
        ("GET", "/page/%2e%2e/%2e%2e/pyproject.toml", 404, "text/plain; charset=utf-8"),
        ("POST", "/", 405, "text/plain; charset=utf-8"),
        ("GET", "/chat", 426, "text/plain; charset=utf-8"),
    ],
)
def test_http(chat_server: ServerProcess, method: str, path: str, status: int, content_type: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", chat_server.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request(method, path)
        reply = connection.getresponse()
        body = reply.read()
        assert (reply.status, reply.headers["Content-Type"]) == (status, content_type)
        assert bool(body) is (method != "HEAD")
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("X: " + "y" * 17_000, b"431"),
        ("Transfer-Encoding: chunked", b"400"),
        ("Host: twice", b"400"),
        ("X : y", b"400"),
    ],
)
def test_a_bad_request_is_refused(chat_server: ServerProcess, header: str, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", chat_server.port), PATIENCE) as sock:
        sock.sendall(f"GET / HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
        assert sock.recv(4096).startswith(b"HTTP/1.1 " + status)


# Shortage


def test_a_server_out_of_descriptors_recovers(serve: Serve) -> None:
    server = serve("--request-timeout", "3600", descriptors=40)
    with contextlib.ExitStack() as hoard:
        for _ in range(60):
            hoard.enter_context(socket.create_connection(("127.0.0.1", server.port), PATIENCE))
        until(lambda: "cannot accept connections" in server.log(), "the shortage's line in the log")
    with Talker(server.ws) as ann, Talker(server.ws) as bob:
        ann.hello("ann")
        assert bob.hello("bob")["user"] == 2
        ann.ask("direct", to=2, message="hi")
        assert bob.next()["message"] == "hi"
    assert server.log().count("cannot accept connections") == 1


def test_more_than_max_connections_are_told_so(serve: Serve) -> None:
    server = serve("--max-connections", "2")
    with Talker(server.ws) as ann, Talker(server.ws) as bob:
        ann.hello("ann")
        bob.hello("bob")
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as third:
            assert third.recv(4096).startswith(b"HTTP/1.1 503 ")
        assert ann.ask("ping") == bob.ask("ping") == {}
    until(lambda: server.threads() <= 3, "the end of their threads")
    with Talker(server.ws) as late:
        late.hello("late")
