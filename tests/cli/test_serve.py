"""Covers threadchat/cli/serve.py with a made-up engine: start line, exit codes, signals, logging."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import logging
import os
import re
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import TypeVar

import pytest

from threadchat.cli import serve as serve_module
from threadchat.cli.serve import serve
from threadchat.config.settings import Config
from threadchat.errors import ConfigError
from threadchat.server.connection_registry import ConnectionRegistry

Found = TypeVar("Found")


class FakeChat:
    """An engine that serves nobody. A test sets what its steps do; each step is noted in `steps`."""

    steps: list[object]
    fails_to_build: Exception | None
    fails_to_listen: Exception | None
    drains: bool
    on_listen: Callable[[], object]
    on_drain: Callable[[], object]
    on_reload: Callable[[], object]
    registry = ConnectionRegistry()
    url: str

    def __init__(self, config: Config) -> None:
        self.steps.append(("stack", threading.stack_size()))
        if self.fails_to_build:
            raise self.fails_to_build
        self.config = config

    def listen(self, on_accept_thread: Callable[[], None]) -> None:
        self.steps.append(("listen", on_accept_thread))
        if self.fails_to_listen:
            raise self.fails_to_listen
        self.on_listen()

    def reload(self) -> None:
        self.steps.append("reload")
        self.on_reload()

    def drain(self, timeout: float) -> bool:
        self.steps.append(("drain", timeout))
        self.on_drain()
        return self.drains


class Ended(BaseException):
    """Raised in place of the end of the process."""


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


@pytest.fixture(autouse=True)
def same_process_afterwards() -> Iterator[None]:
    """What a server sets for its whole process is taken back for the tests after it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stack, limits = threading.stack_size(), resource.getrlimit(resource.RLIMIT_NOFILE)
    switch_interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    threading.stack_size(stack)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    sys.setswitchinterval(switch_interval)
    gc.set_threshold(*thresholds)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> type[FakeChat]:
    class Engine(FakeChat):
        steps: list[object] = []  # noqa: RUF012 - a class of its own for each test
        fails_to_build = None
        fails_to_listen = None
        drains = True
        on_listen = staticmethod(terminate)
        on_drain = staticmethod(lambda: None)
        on_reload = staticmethod(terminate)
        url = "http://127.0.0.1:8080/"

    module = ModuleType("threadchat.server.chat")
    module.Chat = Engine  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "threadchat.server.chat", module)
    return Engine


# -- a run -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [interrupt, terminate])
def test_a_signal_drains_and_ends_with_0(
    engine: type[FakeChat], stop: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    engine.on_listen = staticmethod(stop)
    assert serve(Config(drain_timeout=4)) == 0
    (stack, (listen, prepare), drain) = engine.steps
    assert (stack, listen, drain) == (("stack", 1024 * 1024), "listen", ("drain", 4.0))
    assert (prepare.func, prepare.args) == (serve_module.prepare_thread, ("auto",))
    assert capsys.readouterr().out == "threadchat: open http://127.0.0.1:8080/ in a browser (Ctrl-C stops)\n"


def test_the_start_line_has_the_real_port(engine: type[FakeChat], capsys: pytest.CaptureFixture[str]) -> None:
    engine.url = "http://0.0.0.0:43210/"
    assert serve(Config(host="0.0.0.0", port=0)) == 0
    assert capsys.readouterr().out == "threadchat: open http://127.0.0.1:43210/ in a browser (Ctrl-C stops)\n"


def test_the_signal_handlers_of_before_come_back(engine: type[FakeChat]) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    serve(Config())
    engine.fails_to_listen = OSError(errno.EADDRINUSE, "in use")
    serve(Config())
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_signal_is_logged(engine: type[FakeChat], capsys: pytest.CaptureFixture[str]) -> None:
    serve(Config())
    err = capsys.readouterr().err
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO threadchat\.cli\.serve: stopping: SIGTERM\n", err
    )


def test_what_does_not_end_in_time_is_exit_code_1(
    engine: type[FakeChat], capsys: pytest.CaptureFixture[str]
) -> None:
    engine.drains = False
    assert serve(Config(drain_timeout=0.5, log_level="error")) == 1
    assert capsys.readouterr().err == "threadchat: not everything ended within drain_timeout=0.5 seconds\n"


def test_a_second_sigint_ends_at_once(engine: type[FakeChat], monkeypatch: pytest.MonkeyPatch) -> None:
    def end(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(os, "_exit", end)
    engine.on_listen = staticmethod(interrupt)
    engine.on_drain = staticmethod(interrupt)
    with pytest.raises(Ended) as caught:
        serve(Config())
    assert caught.value.args == (130,)


@pytest.mark.parametrize(
    ("first", "second"), [(terminate, interrupt), (interrupt, terminate), (terminate, terminate)]
)
def test_a_signal_of_the_other_kind_does_not_cut_the_drain_short(
    engine: type[FakeChat], first: Callable[[], None], second: Callable[[], None]
) -> None:
    engine.on_listen = staticmethod(first)
    engine.on_drain = staticmethod(second)
    assert serve(Config()) == 0


def test_a_wait_goes_on_until_a_signal_has_come() -> None:
    class Slow:
        """A queue whose first waits bring nothing."""

        def __init__(self) -> None:
            self.waits = 0

        def get(self, timeout: float) -> signal.Signals:
            self.waits += 1
            if self.waits < 3:
                raise serve_module.queue.Empty
            return signal.SIGTERM

    assert serve_module._wait_for_signal(Slow()) is signal.SIGTERM  # type: ignore[arg-type]


# -- requests ----------------------------------------------------------------------------------------


def test_sighup_has_it_read_again_and_go_on(engine: type[FakeChat]) -> None:
    engine.on_listen = staticmethod(lambda: signal.raise_signal(signal.SIGHUP))
    assert serve(Config()) == 0
    assert [step for step in engine.steps if isinstance(step, str)] == ["reload"]


def test_sigusr1_has_it_log_its_threads_whatever_the_level(
    engine: type[FakeChat], capsys: pytest.CaptureFixture[str]
) -> None:
    def ask() -> None:
        signal.raise_signal(signal.SIGUSR1)
        terminate()

    engine.on_listen = staticmethod(ask)
    assert serve(Config(log_level="critical")) == 0
    err = capsys.readouterr().err
    assert re.search(
        r" CRITICAL threadchat\.cli\.thread_dump: threads: \d+ in \d+ places; connections: 0\n", err
    )
    assert "MainThread: 1 at thread_dump.py:" in err


def test_json_is_logged_where_it_is_asked_for(
    engine: type[FakeChat], capsys: pytest.CaptureFixture[str]
) -> None:
    serve(Config(log_format="json"))
    [line] = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "stopping: SIGTERM"


@pytest.mark.parametrize(
    ("terminals", "steps"), [([True, False], []), ([True, True], ["reload"]), ([False], ["reload"])]
)
def test_a_terminal_that_was_closed_means_stop(
    engine: type[FakeChat], monkeypatch: pytest.MonkeyPatch, terminals: list[bool], steps: list[str]
) -> None:
    monkeypatch.setattr(serve_module, "has_terminal", lambda: terminals.pop(0))
    engine.on_listen = staticmethod(lambda: signal.raise_signal(signal.SIGHUP))
    assert serve(Config()) == 0
    assert [step for step in engine.steps if isinstance(step, str)] == steps
    assert terminals == []


# -- what keeps it from starting ---------------------------------------------------------------------


def refusal(engine: type[FakeChat], config: Config, capsys: pytest.CaptureFixture[str]) -> str:
    assert serve(config) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("threadchat: ")
    assert err.count("\n") == 1
    return err.removeprefix("threadchat: ").rstrip("\n")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.EADDRINUSE, "127.0.0.1 port 80 is in use"), "127.0.0.1 port 80 is in use"),
        (OSError("no"), "no"),
    ],
)
def test_an_address_that_cannot_be_bound_is_one_line_and_exit_code_1(
    engine: type[FakeChat], error: Exception, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.fails_to_listen = error
    assert refusal(engine, Config(), capsys) == message
    assert "drain" not in str(engine.steps)


def test_an_event_log_that_cannot_be_opened(
    engine: type[FakeChat], capsys: pytest.CaptureFixture[str]
) -> None:
    engine.fails_to_build = PermissionError(errno.EACCES, "Permission denied")
    said = refusal(engine, Config(event_log="/no/events.log"), capsys)
    assert said == "event log /no/events.log: Permission denied"


def test_a_configuration_that_the_engine_refuses_is_for_the_caller(engine: type[FakeChat]) -> None:
    engine.fails_to_build = ConfigError("not this one")
    with pytest.raises(ConfigError, match="not this one"):
        serve(Config())


# -- address, logging, limits, scheduling ------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "url", "shown"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080/", "http://127.0.0.1:8080/"),
        ("localhost", "http://localhost:8080", "http://localhost:8080/"),
        ("0.0.0.0", "http://0.0.0.0:9/", "http://127.0.0.1:9/"),
        ("::", "http://[::]:9/", "http://[::1]:9/"),
        ("::", "http://:::9/", "http://[::1]:9/"),
        ("::1", "http://[::1]:9/", "http://[::1]:9/"),
        ("chat.example", "https://chat.example:443/", "https://chat.example:443/"),
    ],
)
def test_the_address_can_be_typed_into_a_browser(host: str, url: str, shown: str) -> None:
    assert serve_module.browsable(host, url) == shown


def test_the_soft_limit_of_descriptors_becomes_the_hard_one() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    serve_module.raise_descriptor_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


def test_a_limit_that_cannot_be_raised_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(which: int, limits: tuple[int, int]) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    serve_module.raise_descriptor_limit()
    monkeypatch.setitem(sys.modules, "resource", None)  # as where there is no such module
    serve_module.raise_descriptor_limit()
    monkeypatch.undo()


def in_a_thread(body: Callable[[], Found]) -> Found:
    found: list[Found] = []
    thread = threading.Thread(target=lambda: found.append(body()), name="scheduled", daemon=True)
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="SCHED_BATCH is Linux's")
def test_only_the_calling_thread_and_its_children_are_batch() -> None:
    def policy() -> int:
        return os.sched_getscheduler(0)

    def parent() -> int:
        serve_module.schedule_as_batch()
        return in_a_thread(policy)

    def allowed() -> int:
        with contextlib.suppress(OSError):  # where it is forbidden, the policy stays
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        return policy()

    before = policy()
    assert in_a_thread(parent) == in_a_thread(allowed)
    assert policy() == before


def test_refused_or_unknown_scheduling_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse, raising=False)
    serve_module.schedule_as_batch()
    monkeypatch.delattr(os, "sched_setscheduler")
    serve_module.schedule_as_batch()


def cores() -> set[int]:
    return os.sched_getaffinity(0)


def test_off_leaves_the_threads_free() -> None:
    def prepared() -> set[int]:
        serve_module.prepare_thread("off")
        return cores()

    assert in_a_thread(prepared) == cores()


@pytest.mark.parametrize("number", [0, 1, 7])
def test_auto_takes_a_core_by_process_id_and_children_stay_on_it(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "getpid", lambda: number)
    monkeypatch.delattr(sys, "_is_gil_enabled", raising=False)
    before = cores()

    def parent() -> set[int]:
        serve_module.prepare_thread("auto")
        return in_a_thread(cores)

    assert in_a_thread(parent) == {sorted(before)[number % len(before)]}
    assert cores() == before


def test_a_named_core_is_taken() -> None:
    core = max(cores())

    def parent() -> set[int]:
        serve_module.pin_to_core(str(core))
        return in_a_thread(cores)

    assert in_a_thread(parent) == {core}


def test_auto_does_nothing_where_threads_run_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)

    def parent() -> set[int]:
        serve_module.pin_to_core("auto")
        return cores()

    assert in_a_thread(parent) == cores()


def test_a_core_that_is_not_there_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    before = cores()

    def parent() -> set[int]:
        serve_module.pin_to_core("9999")
        return cores()

    assert in_a_thread(parent) == before
    assert "pin=9999 has no effect" in caplog.text
    assert str(sorted(before)) in caplog.text


def test_the_process_is_tuned_for_many_threads() -> None:
    serve_module.tune_interpreter()
    assert threading.stack_size() == serve_module.STACK_BYTES
    assert sys.getswitchinterval() == pytest.approx(serve_module.SWITCH_INTERVAL)
    assert gc.get_threshold() == serve_module.COLLECT_AFTER


def test_another_c_library_has_heaps_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(
        serve_module.ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=lambda *it: asked.append(it))
    )
    serve_module.limit_heaps()
    assert asked == [(serve_module.M_ARENA_MAX, 2)]
    monkeypatch.setattr(serve_module.ctypes, "CDLL", lambda name: SimpleNamespace())
    serve_module.limit_heaps()
