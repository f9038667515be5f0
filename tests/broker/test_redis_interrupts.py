"""Tests of publishers that a signal handler's exception interrupts: Ctrl-C, or a job's soft time limit."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from tests.broker.redis_server import RedisServer, why_not

if reason := why_not():
    pytest.skip(reason, allow_module_level=True)

from tests.broker.test_redis_parts import Line, publications
from tests.chat.helpers import PATIENCE, join, run
from threadchat.broker.redis import connection as redis_connection
from threadchat.broker.redis import publish_pipeline
from threadchat.broker.redis.commands import Retention
from threadchat.broker.redis.connection import RedisConnection
from threadchat.broker.redis.publish_pipeline import Publication, PublishPipeline
from threadchat.broker.redis.topology import pool, single
from threadchat.errors import CommandError


class Interrupted(BaseException):
    """What the handler raises; no Exception, as KeyboardInterrupt is none."""


def interrupt_at(step: int, *modules: str) -> Callable[[], None]:
    """Raises Interrupted on this thread where Python looks for signals for the `step`th time in the modules:
    where a function begins, and where a call has returned. Returns what ends that."""
    steps = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal steps
        if frame.f_code.co_filename in modules and event != "c_call":
            steps += 1
            if steps == step:
                raise Interrupted

    sys.setprofile(profile)
    return lambda: sys.setprofile(None)


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(int(PATIENCE * 1000)):
        if condition():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not happen")


def interrupted_publisher(step: int) -> tuple[bool, list[Any]]:
    """One publisher in flight, one that waits and is interrupted, two who wait behind it. Whether the step
    came before the end, and what became of the others, and of one who comes afterwards."""
    line = Line()
    travelling = PublishPipeline(line, Retention(9, 9, 9, 9))  # type: ignore[arg-type]
    items = publications(5)
    outcomes: dict[int, Any] = {}
    came = threading.Event()

    def publish(number: int) -> None:
        try:
            outcomes[number] = [position.offset for position in travelling.publish(items[number])]
        except BaseException as error:
            outcomes[number] = error

    def publish_interrupted() -> None:
        stop = interrupt_at(step, publish_pipeline.__file__)
        try:
            travelling.publish(items[1])
        except Interrupted:
            came.set()
        finally:
            stop()

    def waits(item: Publication) -> bool:
        return item in list(travelling._waiting)

    threads = run(lambda: publish(0))
    assert line.sent.wait(PATIENCE)
    threads += run(publish_interrupted)
    wait_until(lambda: waits(items[1]) or came.is_set())
    for number in (2, 3):
        threads += run(lambda number=number: publish(number))
        wait_until(lambda number=number: waits(items[number]))
    line.may_answer.set()
    join(threads)
    assert travelling._leader is None
    assert not travelling._waiting
    publish(4)
    return came.is_set(), [outcomes[number] for number in (0, 2, 3, 4)]


def test_wherever_a_publisher_is_interrupted_the_others_go_on() -> None:
    step, came = 0, True
    while came:
        step += 1
        came, outcomes = interrupted_publisher(step)
        assert outcomes[0] == outcomes[3] == [1, 2], f"step {step}"
        for outcome in outcomes[1:3]:
            told = isinstance(outcome, CommandError) and outcome.temporary
            assert outcome == [1, 2] or told, f"step {step}: {outcome!r}"
    assert step > 20, "the interrupt came at each step of a publication"


def test_a_publisher_that_waits_is_interrupted_by_a_signal() -> None:
    line = Line()
    travelling = PublishPipeline(line, Retention(9, 9, 9, 9))  # type: ignore[arg-type]
    first, second, third = publications(3)

    def handle(*_: object) -> None:
        raise Interrupted

    def interrupt() -> None:
        wait_until(lambda: second in list(travelling._waiting))
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    former = signal.signal(signal.SIGUSR1, handle)
    try:
        threads = run(lambda: travelling.publish(first) and None)
        assert line.sent.wait(PATIENCE)
        threads += run(interrupt)
        with pytest.raises(Interrupted):
            travelling.publish(second)
    finally:
        signal.signal(signal.SIGUSR1, former)
    line.may_answer.set()
    join(threads)
    assert [position.offset for position in travelling.publish(third)] == [1, 2]
    assert line.batches == [1, 1], "who gave up before it was sent says nothing"


@pytest.fixture
def links(shared_redis: RedisServer) -> Iterator[Callable[[], RedisConnection]]:
    made: list[RedisConnection] = []

    def make() -> RedisConnection:
        made.append(RedisConnection(shared_redis.url))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_no_answer_is_taken_for_that_of_another_command(links: Callable[[], RedisConnection]) -> None:
    step, came = 0, True
    while came:
        step += 1
        came = False
        connected = links()
        connected.execute(("PING",))
        stop = interrupt_at(step, redis_connection.__file__, single.__file__, pool.__file__)
        try:
            connected.execute(("ECHO", "first"), ("ECHO", "second"))
        except Interrupted:
            came = True
        finally:
            stop()
        assert connected.execute(("ECHO", "third")) == [b"third"], f"step {step}"
        connected.close()
    assert step > 10
