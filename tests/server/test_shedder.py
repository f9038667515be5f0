"""Tests of what is let go when too much waits: who, how much of it, and how often somebody looks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.helpers import Hand, RecordingLine
from threadchat.errors import CloseCode, ConnectionClosed
from threadchat.server.shedder import Shedder
from threadchat.wire.outbox import Answer, Outbox
from threadchat.wire.protocol.requests import Text
from threadchat.wire.threads.periodic import CALM, TENSE
from threadchat.wire.threads.reports import REPORTS

MOST = 1000


class Stub:
    """A connection whose peer takes nothing."""

    def __init__(self) -> None:
        line: Any = RecordingLine()
        self.outbox = Outbox(line, 1000, 10_000)
        self.aborted: list[tuple[int, str]] = []

    def hold(self, *texts: Text) -> Stub:
        for text in texts:
            assert self.outbox.offer(text, []) is not Answer.NO
        return self

    def abort(self, code: int, reason: str) -> None:
        self.aborted.append((code, reason))
        self.outbox.end(ConnectionClosed(code, reason))


def own(size: int) -> Text:
    """A frame that nobody else has."""
    return Text(bytes(size))


class Scene:
    def __init__(self) -> None:
        self.hand = Hand()
        self.stubs: list[Any] = []
        self.looks = 0
        self.shedder = Shedder(self._connections, self.hand.pinger, MOST)

    def _connections(self) -> list[Any]:
        self.looks += 1
        return list(self.stubs)

    def come(self, *texts: Text) -> Stub:
        stub = Stub().hold(*texts)
        self.stubs.append(stub)
        self.shedder.watch()
        return stub


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_nobody_goes_while_there_is_room(scene: Scene) -> None:
    stubs = [scene.come(own(250)) for _ in range(4)]
    scene.shedder.look()
    assert not any(stub.aborted for stub in stubs)


def test_the_fullest_go_first_and_no_more_than_have_to(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    sizes = [100, 700, 300, 600]
    stubs = [scene.come(own(size)) for size in sizes]
    scene.shedder.look()
    assert [bool(stub.aborted) for stub in stubs] == [False, True, False, False]
    [(code, reason)] = stubs[1].aborted
    assert code == CloseCode.SLOW
    assert "700 bytes waited" in reason
    assert "queued_bytes" in reason
    assert REPORTS.flush(60)
    assert "1 connections were aborted" in caplog.text
    scene.shedder.look()
    assert [len(stub.aborted) for stub in stubs] == [0, 1, 0, 0]


def test_what_waits_for_many_is_there_once(scene: Scene) -> None:
    shared = own(400)
    people = [scene.come(shared) for _ in range(50)]
    scene.shedder.look()
    assert not any(stub.aborted for stub in people)


def test_whose_going_frees_the_most_goes_however_full_the_others_are(scene: Scene) -> None:
    shared = [own(200), own(200)]
    people = [scene.come(*shared) for _ in range(10)]
    hoarders = [scene.come(own(350)) for _ in range(3)]
    scene.shedder.look()
    assert not any(stub.aborted for stub in people)
    assert sum(bool(stub.aborted) for stub in hoarders) == 2


def test_where_all_have_the_same_all_go_that_have_to(scene: Scene) -> None:
    shared = own(1001)
    people = [scene.come(shared) for _ in range(3)]
    scene.shedder.look()
    assert all(stub.aborted for stub in people), "less frees nothing"


def test_what_a_writer_has_in_hand_counts_too(scene: Scene) -> None:
    stub = scene.come()
    stub.outbox.unsent = bytes(1001)
    scene.shedder.look()
    assert stub.aborted


def test_it_looks_once_a_second_and_more_often_when_much_waits(scene: Scene) -> None:
    stub = scene.come()
    scene.hand.advance(CALM)
    assert scene.looks == 1
    scene.hand.advance(CALM * 0.9)
    assert scene.looks == 1
    stub.hold(own(501))
    scene.hand.advance(CALM * 0.1)
    assert scene.looks == 2
    assert scene.shedder.look() == TENSE


def test_nobody_looks_where_nobody_is(scene: Scene) -> None:
    scene.hand.advance(100)
    assert scene.looks == 0
    scene.come()
    scene.come()
    scene.hand.advance(CALM)
    assert scene.looks == 1, "one chain of looks, however many come"
    scene.stubs.clear()
    for _ in range(5):
        scene.hand.advance(CALM)
    assert scene.looks == 2
    scene.come()
    scene.hand.advance(CALM)
    assert scene.looks == 3


def test_a_fork_looks_at_its_own(scene: Scene) -> None:
    scene.come()
    scene.shedder.rounds.leave_behind()
    scene.hand.advance(CALM)
    assert scene.looks == 0
    scene.come()
    scene.hand.advance(CALM)
    assert scene.looks == 1
