"""What all tests share: a real server in a process of its own, and the promise that no thread stays."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.browser import chromium, missing
from tests.e2e.process import ServerProcess
from tests.wire.conftest import certificate  # noqa: F401 - for tests of TLS in every folder
from threadchat.logs.rate_limit import LogRateLimit

# A shell that starts something in the background has it ignore Ctrl-C, and whatever that starts, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # so does nohup with the hang-up
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Ours by name, since threadchat need not be installed here; pytest's own, to test ours with.
pytest_plugins = ["threadchat.testing.plugin", "pytester"]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts servers, with the arguments of `ServerProcess` from the second on; ends them with the test."""
    servers: list[ServerProcess] = []

    def start(*arguments: str, **options: Any) -> ServerProcess:
        server = ServerProcess(tmp_path / f"server-{len(servers)}.log", *arguments, **options)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def chat_server(serve: Callable[..., ServerProcess]) -> ServerProcess:
    """A server with default settings."""
    return serve()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One browser for a module."""
    if why := missing():
        pytest.skip(why)
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(autouse=True)
def the_log_has_its_whole_ration() -> None:
    """No event of this test is left out because of those that others logged."""
    for logger in list(logging.Logger.manager.loggerDict.values()):
        for ration in getattr(logger, "filters", ()):
            if isinstance(ration, LogRateLimit):
                ration._counts.clear()


@pytest.fixture(autouse=True)
def own_name_stays() -> Iterator[None]:
    """Who reads for a connection is named after it; a test that did is itself again afterwards."""
    thread = threading.current_thread()
    name = thread.name
    yield
    thread.name = name


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    """Every thread that a test started has ended soon after it, whatever was tested."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    for thread in set(threading.enumerate()) - before:
        thread.join(max(0.0, deadline - time.monotonic()))
    left = [thread.name for thread in set(threading.enumerate()) - before if thread.is_alive()]
    assert not left, f"threads left behind: {left}"
