"""Runs an abuse and measures the server before and after it, and the delays of two healthy people."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from watching import process
from watching.pair import Health, HealthyPair
from watching.process import Held

from abusing.abuse import Abuse
from abusing.stranger import Unanswered
from abusing.target import Answers, Target
from tests.e2e.process import ServerProcess

MOST_MEMORY = 20_000_000
"""Bytes by which the server may grow under one abuse, at its peak."""
LONGEST_ROUND = 0.25
"""Seconds within which a message of the healthy pair must reach both, and within which a newcomer must have
connected, joined and been heard; only the script checks it."""
LINES_EACH, SPARE_LINES = 2, 5
"""Lines that may be logged: for each connection of the abuse, and in addition."""
LONGEST_LINE = 400
"""Average bytes of a log line."""
QUIET_LOOKS = 3  # equal measurements in a row after which a server counts as settled
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Result:
    """The result of one abuse. `wrong` says what the server failed to do; empty if nothing."""

    abuse: Abuse
    wrong: str
    answers: Answers
    connections: int
    measured: dict[str, tuple[float, float]]
    seconds: float
    before: Held
    peak: int
    after: Held
    health: Health
    log: str

    @property
    def growth(self) -> int:
        """Bytes by which the memory grew, at its peak."""
        return max(0, self.peak - self.before.memory)

    @property
    def settled(self) -> bool:
        """Whether the numbers of threads and descriptors are no higher than before."""
        return self.after.threads <= self.before.threads and self.after.descriptors <= self.before.descriptors

    def breaches(self, *, timed: bool) -> list[str]:
        """Everything that must not happen; with `timed`, also exceeded limits of time and load."""
        found = [self.wrong] if self.wrong else []
        found += [f"healthy pair: {fault}" for fault in self.health.faults]
        found += self._refused() + self._held() + self._logged()
        return found + (self._timed() if timed else [])

    def _refused(self) -> list[str]:
        if self.wrong:
            return []
        strange = {
            answer: count for answer, count in self.answers.items() if answer not in self.abuse.refusals
        }
        expected = " or ".join(sorted(self.abuse.refusals))
        if strange or not self.answers:
            return [f"answered {dict(self.answers)}, expected {expected}"]
        return []

    def _held(self) -> list[str]:
        found = []
        if self.growth >= MOST_MEMORY:
            found.append(f"memory grew by {self.growth / 1e6:.1f} MB at the peak")
        if not self.settled:
            before, after = self.before, self.after
            found.append(
                f"threads {before.threads} -> {after.threads}, "
                f"descriptors {before.descriptors} -> {after.descriptors}"
            )
        return found

    def _logged(self) -> list[str]:
        lines = self.log.splitlines()
        found = [line for line in lines if "Traceback" in line][:1]
        errors = [line for line in lines if " ERROR " in line or " CRITICAL " in line]
        if len(errors) > self.abuse.errors:
            found.append(f"{len(errors)} errors in the log: {errors[0]}")
        if len(lines) > self.connections * LINES_EACH + SPARE_LINES:
            found.append(f"{len(lines)} lines in the log for {self.connections} connections: {lines[0]}")
        if len(self.log) > LONGEST_LINE * max(1, len(lines)):
            found.append(f"{len(self.log)} bytes in the log in {len(lines)} lines: {lines[0][:200]}")
        return found

    def _timed(self) -> list[str]:
        found = []
        if self.health.worst >= LONGEST_ROUND:
            found.append(f"a healthy round trip took {self.health.worst * 1000:.0f} ms")
        if self.health.slowest >= LONGEST_ROUND:
            found.append(f"a newcomer was heard after {self.health.slowest * 1000:.0f} ms")
        found += [
            f"{what}: {value:.3g}, at most {most:.3g}"
            for what, (value, most) in self.measured.items()
            if value >= most
        ]
        return found


def attempt(abuse: Abuse, server: ServerProcess, pair: HealthyPair, *, quick: bool) -> Result:
    """Runs the abuse against a running server, while the healthy pair talks and newcomers come."""
    assert server.process is not None
    pid = server.process.pid
    target = Target(server.port, pid, server.log, pair, quick=quick)
    target.log_path, target.redis = server.log_path, getattr(server, "redis", "")
    warm_up(target)
    before = settle(pid)
    before = before._replace(descriptors=before.descriptors + abuse.pooled)
    logged = len(server.log())
    target.begin()
    pair.health()
    if abuse.newcomers:
        pair.welcome()
    started = time.monotonic()
    answers, wrong = Answers(), ""
    try:
        answers = abuse.run(target)
        if abuse.newcomers:
            pair.enough()  # the strangers are still there
    except (Unanswered, OSError) as error:
        wrong = f"{type(error).__name__}: {error}"
    finally:
        target.leave()
    seconds = time.monotonic() - started
    with contextlib.suppress(Unanswered):  # the result shows what is still held
        target.lets_go(before)
    return Result(
        abuse=abuse,
        wrong=wrong,
        answers=answers,
        connections=target.connections,
        measured=target.measured,
        seconds=seconds,
        before=before._replace(memory=target.calm),
        peak=process.peak_memory(pid),
        after=process.held(pid),
        health=pair.health(),
        log=server.log()[logged:],
    )


REFUSED = (
    b"GET /chat HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Origin: http://elsewhere.example\r\n\r\n"
)
"""A handshake that all servers here refuse, because its page has another origin."""


def warm_up(target: Target) -> None:
    """Makes the server do its lazy initialisation, so that this does not count as growth."""
    target.enter().served()
    page = target.connect()
    page.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    page.answer()
    refused = target.connect()  # causes the first log line, which starts the thread of the log
    refused.send(REFUSED)
    refused.answer()
    target.leave()
    target.connections = 0


def settle(pid: int) -> Held:
    """Waits until threads and descriptors stay the same for a while; returns what the process holds then."""
    alike, last = 0, process.held(pid)
    while alike < QUIET_LOOKS:
        time.sleep(LOOK_SECONDS)
        now = process.held(pid)
        alike = alike + 1 if now[1:] == last[1:] else 0
        last = now
    return last
