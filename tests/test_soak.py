"""Covers scripts/soak: its quick form is clean, and whatever can be wrong is found."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.e2e.process import Child, environment

ROOT = Path(__file__).parents[1]
PATIENCE = 110


def start(*arguments: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join((str(ROOT / "scripts"), str(ROOT)))
    return Child(
        [sys.executable, "-m", "soaking", *arguments],
        env=environment({"PYTHONPATH": paths}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_quick_form_is_clean() -> None:
    process = start("--quick", "--seed", "7")
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, out + err
    assert err.startswith("soak: 40 people for 6 s, seed 7\n")
    assert "FAULT" not in out
    assert out.endswith("soak: ok: 40 people, 6 s, seed 7\n")


def test_ctrl_c_ends_it_and_its_server() -> None:
    process = start("--seconds", "300", "--people", "3", "--seed", "7")
    assert process.stderr is not None
    assert process.stderr.readline() == "soak: 3 people for 300 s, seed 7\n"
    assert process.stderr.readline().startswith("soak: with ")
    server = process.stderr.readline()
    assert server.startswith("soak: server ")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, out + err
    assert err == "soak: stopped\n"
    assert "Traceback" not in out
    with pytest.raises(ProcessLookupError):
        os.kill(int(server.split()[-1]), 0)


@pytest.mark.parametrize("wrong", [["--seconds", "0"], ["--people", "-3"], ["--seed", "many"]])
def test_nonsense_is_refused(wrong: list[str]) -> None:
    process = start(*wrong)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert f"argument {wrong[0]}: {wrong[1]!r} must be a whole number from 1 up" in err


def test_a_condition_that_there_is_not() -> None:
    process = start("--only", "tls,snow")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "argument --only: 'snow' is none of tls, compression, tokens, moderation, pauses, redis" in err


# -- what is found -------------------------------------------------------------------------------------


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Somebody who is in the room r0 at 5, in a simulation that connects to no server."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from soaking.checker import Log
    from soaking.conditions import Conditions
    from soaking.person import Position
    from soaking.simulation import Simulation

    conditions = Conditions((), tmp_path, Random(1), 1.0)
    simulation = Simulation(0, 3, 1, history_size=300, pace=1.0, conditions=conditions)
    with simulation.crowd:
        someone = simulation.people[0]
        someone.connection = Nobody()
        someone.user = 4
        someone.entered = True
        someone.positions["r0"] = Position(Log("r0", "e"), 5, member=True, only=None, marked=False)
        yield someone


class Nobody:
    """A connection that accepts everything."""

    faults: tuple[str, ...] = ()

    def say(self, *commands: Any) -> None:
        """Keeps nothing."""


def event(number: int, message: str = "p9/1.1 hi", **fields: Any) -> dict[str, Any]:
    return {"id": number, "chatroomId": "r0", "type": "message", "userId": 9, "message": message, **fields}


def faults(person: Any, *frames: dict[str, Any]) -> list[str]:
    for frame in frames:
        person.hear(person.connection, frame)
    person.simulation.checker.settle()
    return [fault.what for fault in person.simulation.checker.faults]


def test_what_is_right_is_no_fault(person: Any) -> None:
    frames = (
        event(6, "p9/1.1"),
        event(7, "p9/1.2"),
        {"id": 8, "chatroomId": "r0", "type": "leave", "userId": 9, "sessionId": "s"},
        {"type": "typing", "chatroomId": "r0", "userId": 9, "from": "p9"},
    )
    assert faults(person, *frames) == []


@pytest.mark.parametrize(
    ("frames", "found"),
    [
        ([event(7)], "event 7 of r0 after 5"),
        ([event(6), event(6)], "event 6 of r0 after 6"),
        ([event(6, "p9/1.1"), event(7, "p9/1.1")], "'p9/1.1' is in r0 twice, as 6 and as 7"),
        ([event(6, "p9/1.2"), event(7, "p9/1.1")], "'p9/1.1' of r0 comes after a later one"),
        ([event(1, chatroomId="r1")], "event 1 of r1, which they are not in"),
        ([{"type": "live", "chatroomId": "r0"}], "an unexpected live marker of r0"),
        ([{"type": "ok", "re": 77}], "a reply to nothing, or a second one"),
        ([{"type": "error", "code": 100, "reason": "x"}], "nobody asked for"),
        ([{"type": "direct", "from": 1, "to": 5, "message": "m"}], "user 4 got what was for user 5"),
        ([{"type": "direct", "from": 1, "to": 4, "message": "m"}], "nobody wrote 'm'"),
        ([{"type": "typing", "chatroomId": "r1", "userId": 9}], "that was not for them"),
        ([{"type": "kicked", "chatroomId": "r0", "reason": ""}], "kicked from r0 without a reason"),
        ([event(6), event(6, "", deleted=True, userId=8)], "event 6 of r0 is deleted"),
    ],
)
def test_every_fault_is_found(person: Any, frames: list[dict[str, Any]], found: str) -> None:
    assert any(found in fault for fault in faults(person, *frames))


def test_what_a_moderator_did_is_no_fault(person: Any) -> None:
    person.simulation.checker.saw("p2", person.positions["r0"].log, event(6))
    person.simulation.disciplined[4] = 1e9
    frames = (
        event(6, "", deleted=True),
        {"type": "error", "code": 103, "reason": "muted"},
        {"type": "kicked", "chatroomId": "r0", "reason": ""},
    )
    assert faults(person, *frames) == []
    person.lost(person.connection, 3503)
    assert faults(person) == []


def test_two_people_who_see_different_things_are_found(person: Any) -> None:
    from soaking.checker import Log

    person.simulation.checker.saw("p2", Log("r0", "e"), event(6, "p9/1.1 other"))
    assert any("elsewhere" in fault for fault in faults(person, event(6)))


@pytest.mark.parametrize(
    ("offset", "wrong"), [(6, False), (7, True), (4, False)], ids=["right", "wrong", "unseen"]
)
def test_an_acknowledgement_is_held_to_what_was_seen(person: Any, offset: int, wrong: bool) -> None:
    person.say("r0", "p0/1.1")
    number = next(iter(person.pending))
    found = faults(
        person, {"type": "ok", "re": number, "offset": offset}, event(6, "p0/1.1"), event(7, "p9/1.2")
    )
    assert any("is acknowledged as 7 of r0" in fault for fault in found) == wrong


def test_a_refusal_that_may_not_be_is_found(person: Any) -> None:
    person.ask("who", room="r0")
    number = next(iter(person.pending))
    refusal = {"type": "error", "re": number, "code": 102, "reason": "unknown room", "temporary": False}
    assert "who r0 was refused" in faults(person, refusal)[0]


def test_a_close_without_a_reason_is_found(person: Any) -> None:
    person.did("says hello")
    person.lost(person.connection, 3008)
    fault = person.simulation.checker.faults[0]
    assert "closed with 3008" in fault.what
    assert "says hello" in fault.actions[0]


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ({"offset": 5, "epoch": "e", "recovered": True}, None),
        ({"offset": 6, "epoch": "e", "recovered": True}, "recovered"),
        ({"offset": 9, "epoch": "f", "recovered": False}, None),
        ({"offset": 400, "epoch": "e", "recovered": False}, None),
        ({"offset": 9, "epoch": "e", "recovered": False}, "not recovered, though the log reaches"),
    ],
)
def test_a_recovery_is_held_to_the_log(person: Any, reply: dict[str, Any], found: str | None) -> None:
    since = person.positions.pop("r0")
    person.listen("r0", member=True, only=None, since=since)
    found_here = faults(person, {"type": "ok", "re": next(iter(person.pending)), **reply})
    assert bool(found_here) == (found is not None)
    assert found is None or found in found_here[0]


def test_a_page_with_a_hole_is_found(person: Any) -> None:
    person.simulation.read_page(
        person, "r0", {"events": [event(1), event(3, "x/1.1")], "offset": 2, "epoch": "e"}
    )
    first, second = (fault.what for fault in person.simulation.checker.faults)
    assert "has holes: [1, 3]" in first
    assert "goes beyond its offset 2: 3" in second


def test_a_message_that_a_filter_swallowed_is_found(person: Any) -> None:
    position = person.positions["r0"]
    position.only = ["message"]
    person.simulation.checker.saw("p2", position.log, event(6, "p9/1.1"))
    assert any("message 6" in fault for fault in faults(person, event(7, "p9/1.2")))
