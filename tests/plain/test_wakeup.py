"""Tests of waiting for a wake-up: from a signal handler, for good, and no descriptor left."""

from __future__ import annotations

import signal
import threading

from tests.wire.helpers import open_descriptors
from threadchat.plain.wakeup import Wakeup


def test_woken_by_a_signal_handler_on_the_waiting_thread() -> None:
    wake = Wakeup()
    seen: list[bool] = []
    main = threading.get_ident()

    def handler(number: int, frame: object) -> None:
        seen.append(wake.is_waiter())
        wake.wake()

    def interrupt() -> None:
        while not wake._waiters:
            pass
        signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        thread = threading.Thread(target=interrupt)
        thread.start()
        assert wake.wait()
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [True]
    assert not wake.is_waiter()
    wake.end()


def test_the_end_wakes_all_who_wait_and_leaves_no_descriptor() -> None:
    before = open_descriptors()
    wake = Wakeup()
    threads = [threading.Thread(target=wake.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(wake._waiters) < 3:
        pass
    wake.end()
    wake.end()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not wake.wait()
    assert open_descriptors() == before
