"""Autobahn's fuzzing cases, all of them, against a server and a client of the plain layer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.process import PATIENCE
from tests.mounted.host import Host
from threadchat import ConnectionClosed, connect

pytest.importorskip("kosoku", reason="the conformance cases need kosoku: pip install 'threadchat[test]'")

HERE = Path(__file__).parent
LARGEST = 64 << 20  # bytes
AT_ONCE = 4
LONGEST_RUN = 300.0  # seconds after which a fuzzer that has not ended fails the test

CASES = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1, "12": 90, "13": 126}
"""How many each section has. 9 is about large messages, 12 and 13 about compression (RFC 7692)."""
MESSAGES = 5
"""That each case of 12 and 13 sends, of 16 bytes to 128 KiB. The 1,000 of the original take five minutes."""

BEFORE_AN_ERROR = frozenset(
    ("3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15")
)
"""A good message, and right behind it an error, upon which nothing more has to be sent but a Close (RFC 6455
7.1.7). Whether the echo leaves before that is between two threads: OK if so, NON-STRICT if not."""
FAIL_FAST = frozenset(("6.4.1", "6.4.2", "6.4.3", "6.4.4"))
"""Bad text in the midst of a message, and a second until the rest of it: NON-STRICT where the end of the
connection comes after that. Whether the judgement or the machine was slow, only a second run tells."""
LEFT_OPEN = frozenset(("7.1.6", "7.13.1", "7.13.2"))
"""INFORMATIONAL whatever happens: a Close behind a large message, and codes that nobody has defined."""


class Verdict(NamedTuple):
    """What the fuzzer says of one case."""

    case: str
    verdict: str
    close: str
    why: str
    expected: str
    received: str
    code: int | None
    gave_up: bool
    """Whether the fuzzer ended the connection because its time was over."""

    @property
    def is_good(self) -> bool:
        """Whether it is what the specification asks for, or one of what it leaves open."""
        if self.case in LEFT_OPEN:
            return (self.verdict, self.close) == ("INFORMATIONAL", "INFORMATIONAL")
        allowed = ("OK", "NON-STRICT") if self.case in BEFORE_AN_ERROR else ("OK",)
        return self.verdict in allowed and self.close == "OK"

    @property
    def is_late(self) -> bool:
        """Whether it may be for want of time that it is not good."""
        slow = self.gave_up or (self.case in FAIL_FAST and self.verdict == "NON-STRICT")
        return slow and not self.is_good

    def __str__(self) -> str:
        return (
            f"{self.case}: {self.verdict}, close {self.close} ({self.code}): {self.why}\n"
            f"    expected {self.expected}\n    received {self.received}"
        )


def verdicts_in(lines: str) -> list[Verdict]:
    return [Verdict(**json.loads(line)) for line in lines.splitlines()]


Run = Callable[[list[str]], list[Verdict]]


def judged(run: Run) -> dict[str, Verdict]:
    """All cases' verdicts.

    The second that a case has is short on a busy machine: where it was over, the case is run again, by
    itself. What was answered wrongly is not.
    """
    found = {verdict.case: verdict for verdict in run([f"{section}.*" for section in CASES])}
    for late in [case for case, verdict in found.items() if verdict.is_late]:
        found |= {verdict.case: verdict for verdict in run([late])}
    return found


# -- a server ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_server(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    """The verdicts on the echo server of the examples."""
    with Host(tmp_path_factory.mktemp("echo"), str(HERE / "echo.py"), "{port}") as host:

        def run(cases: list[str]) -> list[Verdict]:
            command = [sys.executable, str(HERE / "fuzzer.py"), host.ws, str(MESSAGES), *cases]
            return verdicts_in(
                subprocess.run(
                    command, stdout=subprocess.PIPE, text=True, check=True, timeout=LONGEST_RUN
                ).stdout
            )

        found = judged(run)
        assert host.stop() == 0, host.log()
        assert "Traceback" not in host.log()
    return found


# -- a client ------------------------------------------------------------------------------------------


def echo_as_client(url: str) -> None:
    """Sends back what comes, until the end."""
    options: dict[str, Any] = {"max_size": LARGEST, "ping_interval": None, "open_timeout": PATIENCE}
    with connect(url, compression="deflate", **options) as websocket:
        try:
            for message in websocket:
                websocket.send(message)
        except ConnectionClosed:
            pass  # many cases end with an error, which the fuzzer looks at


def run_of_client(cases: list[str]) -> list[Verdict]:
    """Starts a fuzzer that is the server, and goes through its cases."""
    command = [sys.executable, str(HERE / "fuzzer.py"), "-", str(MESSAGES), *cases]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as fuzzer:
        try:
            assert fuzzer.stdout is not None
            base = f"ws://127.0.0.1:{int(fuzzer.stdout.readline())}"
            with connect(f"{base}/getCaseCount") as websocket:
                count = int(websocket.recv(PATIENCE))
            urls = [f"{base}/runCase?case={number}&agent=threadchat" for number in range(1, count + 1)]
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(echo_as_client, urls))
            with connect(f"{base}/updateReports?agent=threadchat") as websocket:
                websocket.wait_closed(PATIENCE)
            told, _ = fuzzer.communicate(timeout=LONGEST_RUN)
        finally:
            fuzzer.kill()
    return verdicts_in(told)


@pytest.fixture(scope="module")
def of_client() -> dict[str, Verdict]:
    """The verdicts on an echo client."""
    return judged(run_of_client)


# -- the verdicts --------------------------------------------------------------------------------------


@pytest.fixture(params=["server", "client"], scope="module")
def verdicts(request: pytest.FixtureRequest) -> dict[str, Verdict]:
    found: dict[str, Verdict] = request.getfixturevalue(f"of_{request.param}")
    return found


@pytest.mark.timeout(2 * LONGEST_RUN)
@pytest.mark.parametrize("section", CASES)
def test_every_case_is_passed(verdicts: dict[str, Verdict], section: str) -> None:
    found = [verdict for case, verdict in verdicts.items() if case.partition(".")[0] == section]
    failed = [verdict for verdict in found if not verdict.is_good]
    assert not failed, "\n".join([f"{len(failed)} of {len(found)} cases:", *map(str, failed)])
    assert len(found) == CASES[section], "not all cases were run"


def a_verdict(case: str, **other: Any) -> Verdict:
    return Verdict(case, "OK", "OK", "", "", "", 1000, False)._replace(**other)


def test_what_counts_as_passed() -> None:
    assert a_verdict("1.1.1").is_good
    assert a_verdict("3.2", verdict="NON-STRICT").is_good
    assert a_verdict("7.1.6", verdict="INFORMATIONAL", close="INFORMATIONAL").is_good
    for wrong in ("NON-STRICT", "INFORMATIONAL", "FAILED", "ERROR", "UNIMPLEMENTED"):
        assert not a_verdict("6.4.1", verdict=wrong).is_good
        assert not a_verdict("6.4.1", close=wrong).is_good
    assert not a_verdict("3.2", verdict="FAILED").is_good
    assert not a_verdict("3.2", close="WRONG CODE").is_good


def test_what_was_late_is_run_again_and_what_was_wrong_is_not() -> None:
    runs: list[list[str]] = []

    def run(cases: list[str]) -> list[Verdict]:
        runs.append(cases)
        if len(cases) == 1:
            return [a_verdict(cases[0])]
        late = a_verdict("1.1.1", verdict="FAILED", gave_up=True)
        slow = a_verdict("6.4.1", verdict="NON-STRICT")
        lax = a_verdict("6.5.1", verdict="NON-STRICT")
        return [late, a_verdict("1.1.2", verdict="FAILED"), a_verdict("1.1.3", gave_up=True), slow, lax]

    assert {case: verdict.is_good for case, verdict in judged(run).items()} == {
        "1.1.1": True,
        "1.1.2": False,
        "1.1.3": True,
        "6.4.1": True,
        "6.5.1": False,
    }
    assert runs[1:] == [["1.1.1"], ["6.4.1"]]
