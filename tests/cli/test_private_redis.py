"""Covers threadchat/cli/private_redis.py: the Redis that workers start, share and take with them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.broker.redis_server import EXECUTABLE, why_not
from tests.cli.test_supervisor import children, converse, is_running, pid_of
from tests.e2e.process import PATIENCE, ServerProcess, command, environment, until
from threadchat.cli import private_redis
from threadchat.cli.private_redis import FOLDER, UNFINISHED
from threadchat.client import Client
from threadchat.client.event import RESET
from threadchat.errors import CommandError, ConfigError

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=f"workers share a Redis: {why_not()}"),
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux shares a port"),
]

Serve = Callable[..., ServerProcess]


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files, with a short path, because a socket's path may not be long."""
    folder = Path(tempfile.mkdtemp(prefix="t c%", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def workers(serve: Serve, temporary: Path) -> ServerProcess:
    """A server of two workers, to which no Redis was named."""
    return serve("--workers", "2", environ={"TMPDIR": str(temporary)})


def redis_of(server: ServerProcess) -> int:
    """The process of a server's Redis, the newest one."""
    return int(re.findall(r"redis 1 is process (\d+)", server.log())[-1])


def listens_on_tcp(pid: int) -> bool:
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        name = os.readlink(link)
        inodes |= {name[8:-1]} if name.startswith("socket:") else set()
    tables = (Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6"))
    return any(line.split()[9] in inodes for table in tables for line in table)


def test_workers_need_no_installed_service(workers: ServerProcess, temporary: Path) -> None:
    converse(workers, 6)
    redis = redis_of(workers)
    assert not listens_on_tcp(redis)
    [folder] = temporary.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "redis.sock").stat().st_mode) == 0o700
    assert workers.stop() == 0
    assert not is_running(redis)
    assert list(temporary.iterdir()) == []
    assert "ERROR" not in workers.log()


def test_ctrl_c_in_the_terminal_leaves_redis_to_the_workers(workers: ServerProcess, temporary: Path) -> None:
    assert os.getsid(redis_of(workers)) != os.getsid(pid_of(workers))


def test_a_redis_that_dies_is_replaced_and_begins_another_epoch(workers: ServerProcess) -> None:
    with Client(f"{workers.ws}/chat", nickname="ann") as ann:
        ann.join("lobby")
        ann.message("lobby", "before")
        dead = redis_of(workers)
        os.kill(dead, signal.SIGKILL)
        until(lambda: redis_of(workers) != dead, "another one to be started")
        assert f"redis 1 (process {dead}) ended with code -9" in workers.log()

        troubles: list[CommandError] = []

        def says() -> bool:
            try:
                ann.message("lobby", "after")
            except CommandError as error:
                troubles.append(error)
                return False
            return True

        until(says, "somebody to be heard again")
        assert all(error.temporary for error in troubles)
        while ann.next_event(PATIENCE).type != RESET:
            pass  # it is told that the log is another one
    until(lambda: all_are_served(workers), "the other worker to have found the new Redis")
    converse(workers, 6)
    assert workers.stop() == 0


def all_are_served(server: ServerProcess) -> bool:
    """Whether new people are served now, on whichever worker."""
    try:
        for number in range(16):
            with Client(f"{server.ws}/chat", nickname=f"q{number}") as person:
                person.join("hall")
    except CommandError as error:
        if error.temporary:
            return False
        raise
    return True


def test_all_end_with_a_supervisor_that_is_killed(workers: ServerProcess, temporary: Path) -> None:
    pids = children(pid_of(workers))
    redis = redis_of(workers)
    with Client(f"{workers.ws}/chat", nickname="ann") as ann:
        ann.join("lobby")
        assert workers.stop(signal.SIGKILL) == -signal.SIGKILL
        until(lambda: not is_running(redis), "Redis to end")
    until(lambda: not any(is_running(pid) for pid in pids), "the workers to end")
    assert list(temporary.iterdir()) == [], "whoever ends last removes the folder"


def test_a_stale_redis_is_found_and_ended_at_the_next_start(serve: Serve, temporary: Path) -> None:
    assert EXECUTABLE is not None
    stale, fresh, foreign = temporary / f"{FOLDER}old", temporary / f"{UNFINISHED}1", temporary / "other"
    for folder in (stale, fresh, foreign):
        folder.mkdir()
        (folder / "lock").touch()
    (temporary / f"{FOLDER}link").symlink_to(foreign)
    options = ("--port", "0", "--unixsocket", str(stale / "redis.sock"), "--save", "")
    orphan = subprocess.Popen([EXECUTABLE, *options], cwd=stale, stdout=subprocess.DEVNULL)
    try:
        until(lambda: private_redis._ask(stale / "redis.sock", b"PING\r\n") == b"+PONG\r\n", "it answers")
        first = serve("--workers", "2", environ={"TMPDIR": str(temporary)})
        assert orphan.wait(PATIENCE) == 0
    finally:
        orphan.kill()
        orphan.wait()
    assert not stale.exists()
    assert fresh.exists()
    assert foreign.exists()
    second = serve("--workers", "2", environ={"TMPDIR": str(temporary)})
    converse(first, 6)  # it is not stale, and not shared
    assert redis_of(first) != redis_of(second)


def start(temporary: Path, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("--workers", "2", "--port", "0"),
        env=environment({"TMPDIR": str(temporary), "PATH": path}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_redis_that_does_not_start_is_one_clear_line(temporary: Path) -> None:
    fake = temporary / "redis-server"
    fake.write_text("#!/bin/sh\necho\necho no memory >&2\nexit 3\n")
    fake.chmod(0o755)
    ended = start(temporary, f"{temporary}:/bin")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"threadchat: {fake} did not start: no memory\n" in ended.stderr
    assert list(temporary.iterdir()) == [fake]


def test_a_program_that_cannot_be_run_is_one_clear_line(temporary: Path) -> None:
    fake = temporary / "redis-server"
    fake.write_text("#!/no/such/program\n")
    fake.chmod(0o755)
    ended = start(temporary, str(temporary))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"threadchat: {fake} did not start\n" in ended.stderr


@pytest.mark.parametrize("missing", ["redis-server", "redis-py"])
def test_what_is_not_installed_is_told_with_the_way_out(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing == "redis-py":
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        expected = "which needs redis-py: pip install"
    else:
        monkeypatch.setattr("shutil.which", lambda name, path: None)
        expected = "neither redis-server nor valkey-server is installed; install one"
    with pytest.raises(ConfigError, match=expected), private_redis.private_redis():
        pass


def test_where_temporary_paths_are_too_long_for_a_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with private_redis.private_redis() as redis, socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(redis._socket))
    assert not redis._folder.exists()


def test_a_folder_that_cannot_be_created_is_one_clear_line(temporary: Path) -> None:
    code = (
        "import sys, tempfile; from threadchat.cli import main\n"
        f"tempfile.tempdir = {json.dumps(str(temporary / 'missing'))}\n"
        "sys.exit(main.main(['--workers', '2', '--port', '0']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("threadchat: no folder can be created for the workers' Redis: ")
