"""Runs scripts/examples/worker.py, orders jobs, and hears of their progress."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.talker import Talker
from tests.mounted.host import EXAMPLES, Host


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Host]:
    with Host(tmp_path, str(EXAMPLES / "worker.py"), "{port}") as host:
        yield host


def test_progress_is_for_all_and_the_end_for_the_one_who_ordered(workshop: Host) -> None:
    with Talker(workshop.ws) as ann, Talker(workshop.ws) as bob:
        for person, name in ((ann, "ann"), (bob, "bob")):
            person.hello(name)
            person.ask("join", room="jobs")
        assert ann.ask("message", room="jobs", message="resize 3")["offset"] == 3
        assert [ann.next()["type"] for _ in range(2)] == ["join", "join"]
        said = {ann.next()["message"] for _ in range(5)}
        steps = {f"resize for ann: {step} of 3" for step in (1, 2, 3)}
        assert said == {"resize 3", *steps, "resize is done"}
        assert bob.next()["type"] == "join"
        heard = [bob.next()["message"] for _ in range(4)]
        assert set(heard) == {"resize 3", *steps}
        assert [message for message in heard if message in steps] == sorted(steps)
        assert bob.nothing_waits()


def test_an_order_that_is_none_is_refused(workshop: Host) -> None:
    with Talker(workshop.ws) as ann:
        ann.hello("ann")
        for order in ("resize", "resize three", "resize 100", "resize ²"):
            assert "such as: resize 3" in ann.ask("message", room="jobs", message=order)["reason"]
        assert ann.ask("message", room="lobby", message="resize")["offset"] == 1


def test_it_ends_politely(workshop: Host) -> None:
    with Talker(workshop.ws) as ann:
        ann.hello("ann")
        assert workshop.stop() == 0
        assert ann.close_code() == 3001
