"""Runs scripts/examples/room_only.py as a program of its own, and looks at what it says and writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "scripts" / "examples" / "room_only.py"

SAYS = """\
ann's phone: add 1 2 3 4 5 6 7 8 9
who: ann (2) bob (1) cyn (1)
a second laptop: already in room numbers
remove again: not in room numbers
the newest: 12-message-cyn 13-message-ann 14-leave-cyn
after the end: None
too late to join: room numbers is closed
all written: True
"""

# Run inside the example's process, after it: rooms alone load neither server nor client.
WHAT_IS_LOADED = """
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print(*sorted(name for name in sys.modules if name.startswith("threadchat.") and name.count(".") == 1))
print(*sorted({"simple_websocket", "wsproto", "h11"} & set(sys.modules)))
"""


def run(*command: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_it_says_the_same_each_time(tmp_path: Path) -> None:
    for number in range(3):
        assert run(str(EXAMPLE), f"{number}.jsonl", folder=tmp_path) == SAYS


def test_the_file_has_every_event_once_and_in_order(tmp_path: Path) -> None:
    run(str(EXAMPLE), folder=tmp_path)
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [event["id"] for event in events] == list(range(1, 16))
    types = [event["type"] for event in events]
    assert types == ["join", "join", "join", "add", *["message"] * 9, "leave", "close"]
    assert [event["message"] for event in events if event["type"] == "message"] == list("123456789")
    assert [event["from"] for event in events[4:13]] == ["bob", "cyn", "ann"] * 3
    assert {event["chatroomId"] for event in events} == {"numbers"}


def test_no_server_is_loaded(tmp_path: Path) -> None:
    *_, wings, libraries = run("-c", WHAT_IS_LOADED, str(EXAMPLE), folder=tmp_path).split("\n")[:-1]
    parts = ("broker", "callbacks", "chat", "errors", "normalize", "version", "wire")
    assert wings.split() == [f"threadchat.{part}" for part in parts]
    assert libraries == ""


def test_it_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 80
