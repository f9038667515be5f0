"""What looks at an abuse finds what is wrong: in figures made up, and in processes that misbehave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.process import Child, ServerProcess
from threadchat.testing import LiveServer, Peer

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from abusing import __main__ as command
from abusing.abuse import abuse
from abusing.attempt import MOST_MEMORY, Result, attempt
from abusing.catalogue import ABUSES
from abusing.target import Answers, Target
from watching import pair as pair_module
from watching import process
from watching.pair import Health, HealthyPair
from watching.process import Held
from watching.talk import Talk


@abuse("nothing", "served")
def nothing(target: Target) -> Answers:
    return Answers(served=1)


CLEAN = Result(
    abuse=nothing,
    wrong="",
    answers=Answers(served=3),
    connections=3,
    measured={"share": (0.1, 0.2)},
    seconds=1.0,
    before=Held(30_000_000, 7, 9),
    peak=30_000_000 + MOST_MEMORY - 1,
    after=Held(31_000_000, 7, 9),
    health=Health(100, 0.2, 0.1, 10, 0.2, []),
    log="",
)


def test_a_clean_result_has_no_breach() -> None:
    assert CLEAN.breaches(timed=True) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"wrong": "Unanswered: still waiting"}, "still waiting"),
        ({"answers": Answers({"served": 2, "1006": 1})}, "expected served"),
        ({"answers": Answers()}, "expected served"),
        ({"peak": 30_000_000 + MOST_MEMORY}, "memory grew by 20.0 MB"),
        ({"after": Held(0, 8, 9)}, "threads 7 -> 8"),
        ({"after": Held(0, 7, 10)}, "descriptors 9 -> 10"),
        ({"health": Health(1, 0.0, 0.0, 0, 0.0, ["word 7: lost"])}, "healthy pair: word 7: lost"),
        ({"log": "x\nTraceback (most recent call last):\n"}, "Traceback"),
        ({"log": "2026 ERROR threadchat: failed\n"}, "1 errors in the log"),
        ({"log": "2026 INFO threadchat: closed\n" * 12}, "12 lines in the log for 3 connections"),
        ({"log": "2026 INFO " + "a" * 1000}, "bytes in the log"),
    ],
)
def test_each_breach_is_told(changed: dict[str, object], told: str) -> None:
    (breach,) = replace(CLEAN, **changed).breaches(timed=False)  # type: ignore[arg-type]
    assert told in breach


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"health": Health(1, 0.25, 0.0, 1, 0.0, [])}, "a healthy round trip took 250 ms"),
        ({"health": Health(1, 0.0, 0.0, 1, 0.25, [])}, "a newcomer was heard after 250 ms"),
        ({"measured": {"share": (0.2, 0.2)}}, "share: 0.2, at most 0.2"),
    ],
)
def test_times_count_only_where_they_are_asked_for(changed: dict[str, object], told: str) -> None:
    result = replace(CLEAN, **changed)  # type: ignore[arg-type]
    assert result.breaches(timed=False) == []
    assert result.breaches(timed=True) == [told]


def test_what_an_abuse_keeps_open_is_closed_for_it(chat_server: ServerProcess) -> None:
    @abuse("forgets", "served")
    def forgets(target: Target) -> Answers:
        return Answers(target.enter().served() for _ in range(3))

    with HealthyPair(chat_server.port, newcomers=True) as pair:
        result = attempt(forgets, chat_server, pair, quick=True)
    assert result.breaches(timed=False) == []
    assert result.connections == 3
    assert result.health.rounds > 0
    assert result.health.newcomers > 0


# -- the process -------------------------------------------------------------------------------------


def test_a_process_is_seen_as_it_is(tmp_path: Path) -> None:
    pid = os.getpid()
    before = process.held(pid)
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    with (tmp_path / "file").open("w"):
        assert process.threads(pid) == before.threads + 1
        assert process.descriptors(pid) == before.descriptors + 1
    release.set()
    thread.join()
    assert process.descriptors(pid) == before.descriptors
    assert process.cpu_seconds(pid) > 0


def test_a_peak_is_seen_although_it_is_over() -> None:
    program = "import sys; input(); (b'x' * 80_000_000).count(b'y'); print(flush=True); input()"
    with Child(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("\n")
        child.stdin.flush()
        child.stdout.readline()
        assert process.peak_memory(child.pid) - process.memory(child.pid) > 50_000_000
        process.forget_peak(child.pid)
        assert process.peak_memory(child.pid) - process.memory(child.pid) < 10_000_000
        assert process.is_running(child.pid)
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not process.is_running(child.pid)  # a corpse, until it is waited for
    assert not process.is_running(child.pid)


# -- the healthy pair --------------------------------------------------------------------------------


def test_the_pair_hears_each_word_once_and_in_order() -> None:
    with LiveServer() as server:
        talk = Talk(server.url, "healthy")
        for _ in range(5):
            talk.round()
        report = talk.report()
        assert (report["rounds"], report["faults"]) == (5, [])
        assert 0 < report["p99"] <= report["worst"]
        talk.begin()
        assert talk.report()["rounds"] == 0
        talk.close()


def test_the_pair_notices_what_does_not_belong_there() -> None:
    with LiveServer() as server, Peer(server.url) as mallory:
        talk = Talk(server.url, "healthy")
        mallory.ask("hello", nickname="mallory")
        mallory.ask("message", room="healthy", message="boo")
        talk.round()
        (fault,) = talk.report()["faults"]
        assert "boo" in fault
        talk.close()


def test_the_pair_notices_that_it_is_cut_off() -> None:
    with LiveServer() as server:
        talk = Talk(server.url, "healthy")
    talk.round()
    (fault,) = talk.report()["faults"]
    assert "word 0" in fault
    talk.close()


def test_a_newcomer_is_heard() -> None:
    with LiveServer() as server:
        talk = Talk(server.url, "healthy", newcomers=True)
        talk.visit()
        talk.visit()
        report = talk.report()
        assert (report["newcomers"], report["faults"]) == (2, [])
        assert report["slowest"] > 0
        talk.close()


def test_a_newcomer_who_is_refused_is_a_fault() -> None:
    with LiveServer(max_connections=3) as server:
        talk = Talk(server.url, "healthy", newcomers=True)
        talk.visit()
        (fault,) = talk.report()["faults"]
        assert fault.startswith("a newcomer, visit 0: HandshakeRefused")
        assert talk.report()["newcomers"] == 0
        talk.close()


def test_a_pair_that_does_not_end_says_what_it_waits_for(
    chat_server: ServerProcess, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = HealthyPair(chat_server.port)
    assert chat_server.process is not None
    chat_server.process.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(pair_module, "END_SECONDS", 0.5)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            pair.stop()
    finally:
        chat_server.process.send_signal(signal.SIGCONT)
    assert "talk.py" in capfd.readouterr().err  # a traceback


# -- the command -------------------------------------------------------------------------------------


def test_the_command_runs_what_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--quick", "nicknames"]) in (0, 1)  # 1: a busy machine may be too slow
    told = capsys.readouterr().out
    assert "nicknames that are none" in told
    assert "of 1 broke a promise" in told


def test_the_command_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--list"]) == 0
    assert capsys.readouterr().out.splitlines() == [it.name for it in ABUSES]
    assert command.main(["no such abuse"]) == 1
