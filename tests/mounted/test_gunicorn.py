"""The chat mounted under the real gunicorn: its workers, its books, and its ways to end a worker."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.crowd import Crowd
from tests.e2e.process import PATIENCE, until
from tests.e2e.talker import Talker
from tests.mounted.host import Host, gunicorn
from tests.wire.helpers import text_frame

pytest.importorskip("gunicorn")

CONF = str(Path(__file__).parent / "counting_conf.py")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Host]:
    with gunicorn(tmp_path, "plain_app:app", "--threads", "2", "-c", CONF) as host:
        yield host


def talk(host: Host, crowd: Crowd, count: int) -> None:
    """So many people in one room, and each hears each."""
    members = crowd.enter(count, "r")
    for member in members:
        member.say("r", ["hi"])
    crowd.run(lambda: all(len(member.messages) >= count for member in members))


@pytest.mark.parametrize("arguments", [("--threads", "1"), ("--threads", "2"), ("--worker-class", "sync")])
def test_sockets_leave_the_pool_and_the_books(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """More than the worker may have, and more than it has threads."""
    more = ("--worker-connections", "5", "--keep-alive", "0", "-c", CONF)
    with gunicorn(tmp_path, "plain_app:app", *arguments, *more) as host, Crowd(host.port) as crowd:
        talk(host, crowd, 20)
        for _ in range(5):
            # The worker counts a connection down a moment after its answer has left.
            until(lambda: host.get("/hello") == (200, b"1"), "only the request's own connection is counted")
        assert host.get("/readers") == (200, b"20")
        log = host.log()
        assert log.count('"GET /chat HTTP/1.1" 101') == 20
        assert "Error" not in log
        assert "Traceback" not in log


def test_requests_are_answered_while_200_people_talk(tmp_path: Path) -> None:
    with gunicorn(tmp_path, "plain_app:app", "--threads", "4") as host, Crowd(host.port) as crowd:
        members = crowd.enter(200, "r")
        with ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(host.get, "/hello") for _ in range(100)]
            for member in members[:10]:
                member.say("r", [f"message {i}" for i in range(10)])
            crowd.run(lambda: all(len(member.messages) == 100 for member in members))
            crowd.run(lambda: all(answer.done() for answer in answers))
        assert {answer.result() for answer in answers} == {(200, b"hello")}
        assert all(member.closed is None for member in members), "nobody had to leave for a request"
        assert all(member.has_no_hole() and not member.faults for member in members)
        crowd.ask_all(members, "ping")


def test_a_request_speaks_to_the_room(app: Host) -> None:
    with Talker(app.ws) as ann:
        ann.hello("ann")
        ann.ask("join", room="orders")
        assert ann.next()["type"] == "join"
        assert app.get("/publish?room=orders&message=one+more") == (200, b"2")
        assert ann.next()["message"] == "one more"


def test_frames_behind_the_request_are_not_lost(app: Host) -> None:
    status, peer = app.knock(more=text_frame('{"type": "ping", "id": "early"}'))
    assert status == 101
    assert peer.frame() == (1, b'{"type":"ok","re":"early"}')
    peer.close()


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Sec-WebSocket-Version: 8", 426),
        ("Sec-WebSocket-Key: short", 400),
        ("Origin: https://evil.example", 403),
        ("Content-Length: 3", 400),
    ],
)
def test_the_handshake_is_judged(app: Host, header: str, status: int) -> None:
    told, peer = app.knock(header)
    peer.close()
    assert told == status


def test_the_page_is_below_the_path(app: Host) -> None:
    status, body = app.get("/chat")
    assert status == 200
    assert b"<!doctype html>" in body.lower()
    assert app.get("/chat/page/app.js")[0] == 200
    assert app.get("/chat/chat")[0] == 426


def test_behind_a_proxy_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with (
        gunicorn(tmp_path, "plain_app:app", "--bind", f"unix:{path}", "--threads", "1"),
        socket.socket(socket.AF_UNIX) as sock,
    ):
        sock.settimeout(PATIENCE)
        until(lambda: not sock.connect_ex(str(path)), "the socket")
        with Talker("ws://proxied", sock=sock) as ann:
            assert ann.hello("ann")["user"] == 1


# -- ends --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("worker", ["gthread", "sync"])
def test_a_stopped_server_says_goodbye(tmp_path: Path, worker: str) -> None:
    log = tmp_path / "events.log"
    with (
        gunicorn(tmp_path, "plain_app:app", "--worker-class", worker, EVENT_LOG=str(log)) as host,
        Crowd(host.port) as crowd,
    ):
        members = crowd.enter(10, "r")
        host.process.send_signal(signal.SIGTERM)
        crowd.run(lambda: all(member.closed is not None for member in members))
        assert {member.closed for member in members} == {3001}
        assert host.stop() == 0
        assert host.log().count("somebody left with 3001") == 10, "hooks run to the end"
        assert log.read_text().splitlines()[-1].startswith('{"id":21,"chatroomId":"r","type":"close"')


def test_a_request_in_flight_is_answered_before_the_goodbye(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with gunicorn(tmp_path, "plain_app:app", "--threads", "2", GATE=str(gate)) as host:
        answers: list[tuple[int, bytes]] = []
        asking = threading.Thread(target=lambda: answers.append(host.get("/slow")))
        with Talker(host.ws) as ann:
            ann.hello("ann")
            asking.start()
            until(gate.with_suffix(".reached").exists, "the request")
            host.process.send_signal(signal.SIGTERM)
            host.wait_for_log("Handling signal: term")
            assert "version" not in ann.ask("ping"), "the chat goes on meanwhile"
            gate.touch()
            assert ann.close_code() == 3001
            asking.join(PATIENCE)
            assert answers == [(200, b"slow, but here")]
            assert host.stop() == 0


def test_a_recycled_worker_sends_people_to_the_next(tmp_path: Path) -> None:
    with gunicorn(tmp_path, "plain_app:app", "--threads", "2", "--max-requests", "5") as host:
        first = host.get("/pid")[1]
        with Talker(host.ws) as ann:
            ann.hello("ann")
            for _ in range(3):
                host.get("/hello")
            assert ann.close_code() == 3001
        with Talker(host.ws) as ann:
            ann.hello("ann")
            assert host.get("/pid")[1] != first
        assert "ann left with 3001" in host.log()


def test_a_reload_sends_people_to_the_next(app: Host) -> None:
    with Talker(app.ws) as ann:
        ann.hello("ann")
        app.process.send_signal(signal.SIGHUP)
        assert ann.close_code() == 3001
    with Talker(app.ws) as ann:
        ann.hello("ann")


def test_a_quick_stop_says_goodbye_too(app: Host) -> None:
    with Talker(app.ws) as ann:
        ann.hello("ann")
        app.process.send_signal(signal.SIGINT)
        assert ann.close_code() == 3001


# -- processes ---------------------------------------------------------------------------------------


def test_an_application_loaded_before_the_fork(tmp_path: Path) -> None:
    log = tmp_path / "events.log"
    with gunicorn(tmp_path, "plain_app:app", "--preload", EVENT_LOG=str(log)) as host:
        with Talker(host.ws) as ann:
            ann.hello("ann")
            ann.ask("join", room="r")
            assert ann.ask("message", room="r", message="hi")["offset"] == 2
        until(lambda: '"message":"hi"' in log.read_text(), "the event log")
        before, _, after = host.get("/threads")[1].decode().partition("|")
        assert "MainThread" in before, "it was loaded before the fork"
        assert "pinger" in after.split()
        assert set(before.split()) & set(after.split()) == {"MainThread"}, "ours began after it"
        assert host.stop() == 0


def test_several_workers_without_a_shared_broker_are_warned_of(tmp_path: Path) -> None:
    with gunicorn(tmp_path, "plain_app:app", "--workers", "2", "--threads", "2") as host:
        pids: set[bytes] = set()
        with contextlib.ExitStack() as stack:
            while len(pids) < 2:
                pids.add(host.get("/pid")[1])
            for _ in range(6):
                stack.enter_context(Talker(host.ws)).hello("ann")
            assert host.get("/hello") == (200, b"hello")
        assert host.log().count("each has its own chat") == 2, "once in each process"


def test_one_worker_is_no_reason_to_warn(app: Host) -> None:
    with Talker(app.ws) as ann:
        ann.hello("ann")
    assert "each has its own chat" not in app.log()
