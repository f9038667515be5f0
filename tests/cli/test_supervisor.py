"""Covers threadchat/cli/supervisor.py: real processes on one port, over a Redis of the test's own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.broker.redis_server import EXECUTABLE, RedisServer
from tests.e2e.process import PATIENCE, Child, ServerProcess, command, environment, until
from tests.wire.conftest import Certificate
from threadchat.cli import supervisor
from threadchat.client import Client
from threadchat.config.settings import Config
from threadchat.errors import CloseCode, ConfigError, ConnectionClosed
from threadchat.plain.client import connect

pytestmark = [
    pytest.mark.skipif(not EXECUTABLE, reason="workers share a Redis: redis-server is not installed"),
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux shares a port"),
]

Serve = Callable[..., ServerProcess]


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), lasting=False)
    yield server.url
    server.kill()


@pytest.fixture
def workers(serve: Serve, redis_url: str) -> ServerProcess:
    """A server of three workers."""
    return serve("--workers", "3", "--broker", redis_url, "--log-level", "debug")


def children(pid: int) -> list[int]:
    """The processes that a process has started, and which still run."""
    return [int(it) for it in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def pid_of(server: ServerProcess) -> int:
    assert server.process is not None
    return server.process.pid


def who_serves(port: int, sock_port: int) -> int:
    """The number of the process whose socket the other end of a connection is."""
    local, remote = f"0100007F:{port:04X}", f"0100007F:{sock_port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1:3] == [local, remote]:
            return owner_of(fields[9])
    raise AssertionError(f"nobody serves {sock_port}")


def owner_of(inode: str) -> int:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(link) == f"socket:[{inode}]" for link in (process / "fd").iterdir()):
                return int(process.name)
        except OSError:
            continue
    raise AssertionError(f"nobody has socket {inode}")


def spread(port: int, wanted: int) -> list[tuple[socket.socket, int]]:
    """Connects until so many processes have a connection; each socket with its process."""
    found: list[tuple[socket.socket, int]] = []
    while len({pid for _, pid in found}) < wanted:
        assert len(found) < 200, f"only {len(found)} processes serve"
        sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        sock.sendall(b"GET /heal")  # so that it is accepted, and stays
        held: list[int] = []

        def served(sock: socket.socket = sock, held: list[int] = held) -> bool:
            try:
                held.append(who_serves(port, sock.getsockname()[1]))
            except AssertionError:
                return False
            return True

        until(served, "the connection to be accepted")
        found.append((sock, held[-1]))
    return found


def converse(server: ServerProcess, count: int) -> None:
    """People on several workers hear each other in one order."""
    people = [Client(f"{server.ws}/chat", nickname=f"p{number}") for number in range(count)]
    try:
        for person in people:
            person.join("lobby")
        for number, person in enumerate(people):
            person.message("lobby", f"hi from {number}")
        for person in people:
            said: list[str] = []
            while len(said) < len(people):
                event = person.next_event(PATIENCE)
                said += [event.message] if event.type == "message" else []
            assert said == [f"hi from {number}" for number in range(count)]
    finally:
        for person in people:
            person.close()


def test_connections_are_spread_over_processes_that_share_rooms(workers: ServerProcess) -> None:
    pids = children(pid_of(workers))
    assert len(pids) == 3
    sockets = spread(workers.port, 3)
    assert {pid for _, pid in sockets} == set(pids)
    for sock, _ in sockets:
        sock.close()
    converse(workers, 8)


def test_requests_are_passed_on_to_all(serve: Serve, redis_url: str, certificate: Certificate) -> None:
    files = ("--tls-cert", str(certificate.chain), "--tls-key", str(certificate.key))
    server = serve("--workers", "2", "--broker", redis_url, *files)
    server.send_signal(signal.SIGHUP)
    until(lambda: server.log().count("use the present certificate") == 2, "both to read the certificate")
    server.send_signal(signal.SIGUSR1)
    until(lambda: server.log().count(" threads: ") == 2, "both to log their threads")
    with Client(f"{server.ws}/chat", nickname="ann", ssl=certificate.client()) as ann:
        assert ann.rooms() is not None
    assert server.stop() == 0
    assert "Traceback" not in server.log()


def test_a_worker_that_dies_is_replaced_and_the_others_go_on(workers: ServerProcess) -> None:
    pids = children(pid_of(workers))
    os.kill(pids[0], signal.SIGKILL)
    until(
        lambda: len(children(pid_of(workers))) == 3 and pids[0] not in children(pid_of(workers)),
        "a new worker",
    )
    assert set(pids[1:]) <= set(children(pid_of(workers)))
    assert f"(process {pids[0]}) ended with code -9" in workers.log()
    for sock, _ in spread(workers.port, 3):
        sock.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_are_drained_together(workers: ServerProcess, number: signal.Signals) -> None:
    pids = children(pid_of(workers))
    with connect(f"{workers.ws}/chat") as one, connect(f"{workers.ws}/chat") as two:
        workers.send_signal(number)
        for each in (one, two):
            with pytest.raises(ConnectionClosed) as caught:
                each.recv(PATIENCE)
            assert caught.value.code == CloseCode.SHUTDOWN
        assert workers.wait() == 0
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", workers.port))


def test_workers_end_with_their_supervisor(workers: ServerProcess) -> None:
    pids = children(pid_of(workers))
    assert workers.stop(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: not any(is_running(pid) for pid in pids), "the orphans to end")
    assert workers.log().count("stopping: SIGTERM") == 3


def is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"  # whoever adopts it may be slow to bury it


def test_one_that_does_not_end_is_killed(serve: Serve, redis_url: str) -> None:
    server = serve("--workers", "2", "--broker", redis_url, "--drain-timeout", "0.1")
    pids = children(pid_of(server))
    os.kill(pids[0], signal.SIGSTOP)
    assert server.stop() == 1
    assert "1 workers did not end in time and will be killed" in server.log()
    assert not any(is_running(pid) for pid in pids)


def test_a_second_ctrl_c_ends_all_at_once(serve: Serve, redis_url: str) -> None:
    server = serve("--workers", "2", "--broker", redis_url, "--drain-timeout", "60")
    pids = children(pid_of(server))
    os.kill(pids[0], signal.SIGSTOP)
    server.send_signal(signal.SIGINT)
    until(lambda: not is_running(pids[1]), "the first worker to end")
    assert server.stop(signal.SIGINT) == 130
    assert not is_running(pids[0])


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("--workers", "2", *arguments),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_port_in_use_is_one_clear_line(redis_url: str) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as other workers would
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run("--broker", redis_url, "--port", str(port))
    assert (ended.returncode, ended.stdout) == (1, "")
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"threadchat: 127.0.0.1 port {port} is in use")


def test_without_a_shared_broker_it_is_one_clear_line() -> None:
    ended = run("--broker", "sqlite:chat.db")
    assert (ended.returncode, ended.stdout) == (2, "")
    [line] = ended.stderr.splitlines()
    assert line.startswith("threadchat: --workers 2: must be 1 with --broker sqlite:chat.db; ")


def test_a_worker_that_cannot_start_ends_the_others() -> None:
    ended = run("--broker", "redis://127.0.0.1:no/", "--port", "0")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "threadchat: broker: " in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_starts_ends_it_in_order(redis_url: str, number: signal.Signals) -> None:
    arguments = command("--workers", "2", "--broker", redis_url, "--port", "0")
    with Child(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        until(lambda: len(children(process.pid)) == 2, "the workers to be started")
        pids = children(process.pid)
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
    assert not any(is_running(pid) for pid in pids)


def test_any_free_port_is_one_port(redis_url: str) -> None:
    arguments = command("--workers", "2", "--broker", redis_url, "--port", "0")
    with Child(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().split(":")[3].split("/")[0])
        for sock, pid in spread(port, 2):
            assert pid in children(process.pid)
            sock.close()
        process.terminate()
        assert process.wait(PATIENCE) == 0


def test_elsewhere_than_on_linux_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ConfigError) as caught:
        supervisor.serve_with_workers(Config(workers=2, broker="redis://127.0.0.1/"))
    assert str(caught.value) == (
        "workers=2: only Linux distributes connections over processes that share a port; "
        "on this system, run each server on a port of its own, behind nginx"
    )


def test_workers_go_round_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {5, 2, 9})
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True, raising=False)
    auto = Config(pin="auto")
    assert [supervisor.on_a_core_of_its_own(auto, number).pin for number in range(1, 5)] == [
        "2",
        "5",
        "9",
        "2",
    ]
    for pin in ("off", "3"):
        assert supervisor.on_a_core_of_its_own(Config(pin=pin), 1).pin == pin
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    assert supervisor.on_a_core_of_its_own(auto, 1).pin == "auto"
