"""scripts/cluster as people run it: what it says, what it looks after, and that nothing of it stays."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.e2e.process import PATIENCE, environment, until

ROOT = Path(__file__).parents[2]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(programs: None, tmp_path: Path) -> Iterator[Start]:
    """Starts the command, its temporary files in the test's own folder."""
    processes: list[subprocess.Popen[str]] = []

    def run(*arguments: str, path: str = os.environ["PATH"]) -> subprocess.Popen[str]:
        environ = {
            "PYTHONPATH": f"{ROOT / 'scripts'}{os.pathsep}{ROOT}",
            "TMPDIR": str(tmp_path),
            "PATH": path,
        }
        with (tmp_path / "stderr").open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "clustering", *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=environment(environ),
            )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.terminate()
        process.wait(PATIENCE)
        assert process.stdout is not None
        process.stdout.close()


def said(tmp_path: Path) -> str:
    return (tmp_path / "stderr").read_text()


def pids(tmp_path: Path) -> dict[str, int]:
    """The programs that the command says it has started."""
    return {name: int(pid) for name, pid in re.findall(r"([\w-]+) \(port \d+, pid (\d+)\)", said(tmp_path))}


def left_behind(tmp_path: Path) -> list[str]:
    """Processes that have something to do with the test's folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(str(tmp_path) in word for word in words):
            found.append(" ".join(words))
    return found


def url_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.fullmatch(r"threadchat: open (http://127\.0\.0\.1:\d+/) in a browser \(Ctrl-C stops\)\n", line)
    assert found, line
    return found[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_stops_all_of_it(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    process = start("--log-level", "warning")
    with urlopen(url_of(process), timeout=PATIENCE) as page:
        assert page.status == 200
    started = pids(tmp_path)
    assert list(started) == ["redis", "node-1", "node-2", "node-3", "nginx"]
    assert all(Path(f"/proc/{pid}").exists() for pid in started.values())
    process.send_signal(number)
    assert process.wait(PATIENCE) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in started.values())
    assert left_behind(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["stderr"]


def test_a_redis_cluster_starts_and_stops_with_all_of_it(start: Start, tmp_path: Path) -> None:
    process = start("--redis-cluster", "--quick", "--nodes", "1")
    url_of(process)
    assert process.wait(PATIENCE) == 0, said(tmp_path)
    assert list(pids(tmp_path)) == ["redis-1", "redis-2", "redis-3", "node-1", "nginx"]
    assert left_behind(tmp_path) == []


def test_people_of_a_room_may_be_kept_together(start: Start, tmp_path: Path) -> None:
    process = start("--by-room", "--nodes", "1")
    url_of(process)
    [configuration] = tmp_path.glob("*/nginx/nginx.conf")
    assert "\n        hash $place consistent;" in configuration.read_text()
    process.terminate()
    assert process.wait(PATIENCE) == 0


def test_what_dies_is_started_again(start: Start, tmp_path: Path) -> None:
    process = start("--nodes", "2")
    url_of(process)
    started = pids(tmp_path)
    assert list(started) == ["redis", "node-1", "node-2", "nginx"]
    os.kill(started["node-2"], signal.SIGKILL)
    until(lambda: "node-2 ended with code -9; starting it again" in said(tmp_path), "the death to be noticed")
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert left_behind(tmp_path) == []


def test_a_signal_while_it_starts_stops_it_too(start: Start, tmp_path: Path) -> None:
    process = start()
    until(lambda: bool(left_behind(tmp_path)), "something to run")
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert left_behind(tmp_path) == []


def test_where_one_cannot_start_it_is_told_and_all_is_stopped(start: Start, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start("--port", str(port))
        assert process.wait(PATIENCE) == 1
    assert said(tmp_path) == f"threadchat: nginx: another program listens on port {port}\n"
    assert left_behind(tmp_path) == []


def test_where_a_node_cannot_start_its_own_words_are_shown(start: Start, tmp_path: Path) -> None:
    process = start("--presence-ttl", "0")
    assert process.wait(PATIENCE) == 1
    assert said(tmp_path) == (
        "threadchat: node-1 ended with code 2\n  threadchat: --presence-ttl 0: must be from 3 to 86400\n"
    )
    assert left_behind(tmp_path) == []


def test_a_missing_program_is_told(start: Start, tmp_path: Path) -> None:
    process = start(path=str(tmp_path))
    assert process.wait(PATIENCE) == 1
    assert said(tmp_path) == "threadchat: there is no redis-server and no valkey-server on this machine\n"


@pytest.mark.parametrize("wrong", [("--nodes", "0"), ("--nodes", "x"), ("--port", "65536"), ("--port", "-1")])
def test_a_wrong_number_is_told(start: Start, tmp_path: Path, wrong: tuple[str, str]) -> None:
    process = start(*wrong)
    assert process.wait(PATIENCE) == 2
    assert "must be a whole number from" in said(tmp_path) or "expected one argument" in said(tmp_path)
