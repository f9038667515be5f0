"""The server with `--broker sqlite:...`: restarts, kills, a full disk, and files that cannot be had."""

from __future__ import annotations

import resource
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.process import PATIENCE, ServerProcess, command, environment
from tests.e2e.talker import Frame, Talker

Serve = Callable[..., ServerProcess]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where the server keeps its rooms."""
    return tmp_path / "chat.db"


@pytest.fixture
def lasting(serve: Serve, database: Path) -> ServerProcess:
    """A server whose rooms last."""
    return serve("--broker", f"sqlite:{database}")


def replayed(ann: Talker) -> list[Frame]:
    """What comes before the live line."""
    frames = []
    while (frame := ann.next())["type"] != "live":
        frames.append(frame)
    return frames


# Restarts


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_one_goes_on_after_a_restart(lasting: ServerProcess, end: signal.Signals) -> None:
    with Talker(lasting.ws) as ann:
        who = ann.hello("ann")
        seen = ann.ask("join", room="lobby")
        first = ann.ask("message", room="lobby", message="before", key="1")["offset"]
        ann.ask("message", room="lobby", message="unseen")
        lasting.stop(end)
    lasting.start()
    with Talker(lasting.ws) as ann:
        back = ann.ask("hello", resume=who["resume"])
        assert back["user"] == who["user"]
        joined = ann.ask("join", room="lobby", since={"offset": first, "epoch": seen["epoch"]})
        assert (joined["epoch"], joined["recovered"]) == (seen["epoch"], True)
        missed = [(frame["type"], frame.get("message")) for frame in replayed(ann)]
        # Who was told to go left; who was killed did not.
        assert missed == [("message", "unseen")] + [("leave", None)] * (end == signal.SIGTERM)
        assert ann.ask("message", room="lobby", message="before", key="1") == {"offset": first}
        head = ann.ask("message", room="lobby", message="after")["offset"]
        assert head == first + 1 + len(missed) + 1
        with Talker(lasting.ws) as bob:
            assert bob.hello("bob")["user"] > who["user"]
            page = bob.ask("history", room="lobby")
            assert [event["id"] for event in page["events"]] == list(range(1, head + 1))
            assert "close" not in {event["type"] for event in page["events"]}


def test_history_of_a_room_that_nobody_opened_since(lasting: ServerProcess) -> None:
    with Talker(lasting.ws) as ann:
        ann.hello("ann")
        ann.ask("message", room="archive", message="kept")
    lasting.restart()
    with Talker(lasting.ws) as bob:
        bob.hello("bob")
        assert [event["message"] for event in bob.ask("history", room="archive")["events"]] == ["kept"]
        assert bob.code("history", room="nowhere") == 102


# A full disk


def test_without_room_for_the_log_messages_are_refused_and_everybody_stays(lasting: ServerProcess) -> None:
    with Talker(lasting.ws) as ann, Talker(lasting.ws) as bob:
        for person, name in ((ann, "ann"), (bob, "bob")):
            person.hello(name)
            person.ask("join", room="lobby")
            person.ask("ping")  # the coming is announced by then
        limit_file_size(lasting, 128 << 10)
        accepted = []
        while "offset" in (reply := ann.ask("message", room="lobby", message="x" * 4_000)):
            accepted.append(reply["offset"])
        assert (reply["code"], reply["temporary"]) == (100, True)
        assert "nothing can be written just now" in reply["reason"]
        assert bob.ask("ping") == {}
        assert bob.ask("history", room="lobby", limit=1)["offset"] == accepted[-1]
        limit_file_size(lasting, resource.RLIM_INFINITY)
        accepted.append(ann.ask("message", room="lobby", message="at last")["offset"])
        assert accepted == list(range(accepted[0], accepted[0] + len(accepted)))
        got: list[Frame] = []
        while not got or got[-1]["message"] != "at last":
            frame = bob.next()
            got += [frame] if frame["type"] == "message" else []
        assert [frame["id"] for frame in got] == accepted


def limit_file_size(server: ServerProcess, size: int) -> None:
    """Lets the process's files grow no further than that; writing more fails as on a full disk."""
    assert server.process is not None
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


# Files that cannot be had


def complaint(database: Path) -> str:
    """What a server says that does not start, in one line."""
    ended = subprocess.run(
        command("--port", "0", "--broker", f"sqlite:{database}"),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.count("\n") == 1
    return ended.stderr


def test_a_file_that_another_server_has(lasting: ServerProcess, database: Path) -> None:
    assert lasting.process is not None
    assert f"{database} is in use by process {lasting.process.pid};" in complaint(database)


def test_a_file_of_a_newer_version(database: Path, serve: Serve) -> None:
    serve("--broker", f"sqlite:{database}").stop()
    newer = sqlite3.connect(database)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    assert complaint(database).startswith(f"threadchat: broker {database} was written by a newer threadchat:")


def test_a_file_that_is_none(database: Path) -> None:
    database.write_text("hello")
    database.chmod(0o600)  # else there is a warning first
    assert complaint(database) == f"threadchat: broker {database} is no SQLite database\n"
