"""Covers scripts/faults: its quick form is clean, and whatever can be wrong is found."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.broker.redis_server import why_not
from tests.e2e.process import Child, environment, until

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from clustering.programs import ProgramFailed, executable

if reason := why_not():
    pytest.skip(reason, allow_module_level=True)

from faulting import clock
from faulting.observations import Letter, Observations, Promise
from faulting.people import RecordingLink
from faulting.proxy import CUT, HANG, PASS, Proxy
from faulting.site import Site

ROOT = Path(__file__).parents[1]
PATIENCE = 10
RUN_SECONDS = 200


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    try:
        executable("nginx")
    except ProgramFailed as missing:
        pytest.skip(str(missing))
    paths = os.pathsep.join((str(ROOT / "scripts"), str(ROOT)))
    return Child(
        [sys.executable, "-m", "faulting", *arguments],
        env=environment({"PYTHONPATH": paths, "TMPDIR": str(folder)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(pid: int) -> list[int]:
    """The processes that a process has started, and which still run."""
    return [int(it) for it in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# -- the command -------------------------------------------------------------------------------------


@pytest.mark.timeout(RUN_SECONDS + 60)
def test_the_quick_form_is_clean(tmp_path: Path) -> None:
    process = start(tmp_path, "--quick", "--seed", "1")
    out, err = process.communicate(timeout=RUN_SECONDS)
    assert process.returncode == 0, out + err
    assert out.endswith("faults: ok: 12 people, 14 s, seed 1\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(RUN_SECONDS + 60)
@pytest.mark.parametrize(
    ("broken", "only", "found"),
    [
        ("ack-before-append", "redis_hangs", r" was acknowledged at "),
        ("heal-without-epoch", "failover", r" here and Fact"),
    ],
)
def test_a_fault_that_was_put_in_is_found(tmp_path: Path, broken: str, only: str, found: str) -> None:
    process = start(tmp_path, "--quick", "--seed", "3", "--broken", broken, "--only", only, "--proxies")
    out, err = process.communicate(timeout=RUN_SECONDS)
    assert process.returncode == 1, out + err
    assert found in out
    assert "faults: FAILED: " in out


def test_ctrl_c_ends_all_of_it(tmp_path: Path) -> None:
    process = start(tmp_path, "--seconds", "300", "--people", "3")
    until(lambda: len(children(process.pid)) == 6, "two Redis, three nodes and nginx to be started")
    started = children(process.pid)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "Traceback" not in out + err
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)


@pytest.mark.parametrize(
    "wrong",
    [["--seconds", "0"], ["--only", "rain"], ["--broken", "all"], ["--redis-cluster", "--proxies"]],
)
def test_nonsense_is_refused(tmp_path: Path, wrong: list[str]) -> None:
    process = start(tmp_path, *wrong)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert wrong[0] in err


# -- the observations --------------------------------------------------------------------------------------


def message(number: int, text: str) -> dict[str, Any]:
    return {"id": number, "type": "message", "userId": 1, "message": text}


SAID = "was acknowledged at"
LOG = [message(1, "p1.1"), message(2, "p2.1"), message(3, "p1.2")]


@pytest.fixture
def observations() -> Observations:
    """Somebody saw all of it, and all of it was acknowledged."""
    observations = Observations()
    for event in LOG:
        observations.saw("p1", "lobby", "e", event)
        who, text = event["message"].partition(".")[0], event["message"]
        observations.promised(Promise(who, "lobby", text, event["id"], 10.0, 11.0))
    return observations


def settle(
    observations: Observations, *events: dict[str, Any], epoch: str = "e", losses: Any = (), inbox: str = ""
) -> list[str]:
    observations.settle_room("lobby", epoch, events, losses)
    observations.settle_letters({"p2": inbox.split()}, losses)
    return observations.faults


def test_what_adds_up_is_no_fault(observations: Observations) -> None:
    observations.posted(Letter("p1", "p2", "hi", 10.0, 11.0))
    observations.received("p2", "hi")
    assert settle(observations, *LOG, inbox="hi") == []
    assert settle(observations, *LOG, message(4, "p2.2"), inbox="hi") == []
    assert observations.counts["messages acknowledged"] == 3


@pytest.mark.parametrize(
    ("events", "found"),
    [
        (LOG[:2], ["the log: of lobby lacks event 3 of this epoch", "p1: 'p1.2' was acknowledged at 3"]),
        (
            [*LOG[:2], message(3, "p3.1")],
            ["the log: event 3 of lobby is", "p1: 'p1.2' was acknowledged at 3"],
        ),
        (
            [*LOG, message(4, "p2.1")],
            ["the log: 'p2.1' is in lobby twice", "p2: 'p2.1' was acknowledged at 2"],
        ),
        ([*LOG, message(5, "p2.2")], ["the log: of lobby has 5 at place 4"]),
        ([*LOG, message(4, "p1.0")], ["p1: 'p1.0' comes after a later one in lobby"]),
    ],
    ids=["lost", "replaced", "twice", "hole", "order"],
)
def test_what_does_not_add_up_is_found(
    observations: Observations, events: list[dict[str, Any]], found: list[str]
) -> None:
    faults = settle(observations, *events)
    assert len(faults) == len(found)
    for fault, words in zip(faults, found, strict=True):
        assert fault.startswith(words)


def test_views_that_differ_are_found_at_once() -> None:
    told: list[str] = []
    observations = Observations(told.append)
    observations.saw("p1", "lobby", "e", message(1, "p1.1"))
    observations.saw("p2", "lobby", "f", message(1, "p2.1"))  # another epoch
    assert told == []
    observations.saw("p2", "lobby", "e", message(1, "p2.1"))
    assert observations.faults_in_all == len(told) == 1


def test_a_failover_may_lose_what_was_said_shortly_before_but_ends_the_epoch(
    observations: Observations,
) -> None:
    assert settle(observations, *LOG[:2], epoch="f", losses=[(11.0, 12.0)]) == []
    assert observations.counts["messages lost in a failover"] == 1


def test_a_split_brain_may_move_a_message_once(observations: Observations) -> None:
    log = [LOG[0], message(2, "p1.2"), message(3, "p3.1")]
    losses = [(11.0, 12.0)]
    assert settle(observations, *log, epoch="f", losses=losses) == []
    counts = observations.counts
    assert (counts["messages moved by a split brain"], counts["messages lost in a failover"]) == (1, 1)
    assert settle(observations, *LOG, epoch="g", losses=losses)[0] == (
        "p1: 'p1.2' was acknowledged at 2 of lobby and is 3"
    )


def test_what_a_failover_did_not_lose_must_stay(observations: Observations) -> None:
    losses = [(11.0, 12.0)]
    assert settle(observations, *LOG, losses=losses) == []
    faults = settle(observations, *LOG[:2], epoch="f", losses=losses)
    assert faults == ["p1: 'p1.2' was acknowledged at 3 of lobby and is nowhere"]


@pytest.mark.parametrize(
    ("epoch", "losses"), [("e", [(11.0, 12.0)]), ("f", [(11.5, 12.0)]), ("f", [(8.0, 9.5)])]
)
def test_a_loss_at_another_time_or_in_the_same_epoch_is_found(
    observations: Observations, epoch: str, losses: Any
) -> None:
    assert "p1: 'p1.2' was acknowledged at 3 of lobby and is nowhere" in settle(
        observations, *LOG[:2], epoch=epoch, losses=losses
    )


def test_a_direct_message_is_in_the_inbox_and_arrives_once(observations: Observations) -> None:
    for text in ("lost", "late", "doubled", "repeated"):
        observations.posted(Letter("p1", "p2", text, 10.0, 11.0))
    for text in ("lost", "doubled", "repeated", "repeated"):
        observations.received("p2", text)
    assert settle(observations, *LOG, inbox="late doubled doubled repeated") == [
        "p2: 'lost' of p1 is 0 times in the inbox",
        "p2: 'late' of p1 was acknowledged and did not arrive",
        "p2: 'doubled' of p1 is 2 times in the inbox",
        "p2: the direct message 'repeated' arrived 2 times, "
        "sent 0.000 s after a failover, acknowledged 0.000 s before one",
    ]


def test_whoever_is_told_that_the_inbox_is_another_one_may_miss_what_is_there(
    observations: Observations,
) -> None:
    for text in ("missed", "lost"):
        observations.posted(Letter("p1", "p2", text, 10.0, 11.0))
    observations.told_of_missing("p2")
    later = time.monotonic() + 1
    observations.posted(Letter("p1", "p2", "later", later, later))
    assert settle(observations, *LOG, inbox="missed later") == [
        "p2: 'lost' of p1 is 0 times in the inbox",
        "p2: 'later' of p1 was acknowledged and did not arrive",
    ]


def test_a_failover_may_lose_a_direct_message(observations: Observations) -> None:
    for text in ("lost", "repeated"):
        observations.posted(Letter("p1", "p2", text, 10.0, 11.0))
    for _ in range(2):
        observations.received("p2", "repeated")
    for _ in range(2):  # quiet points
        assert settle(observations, *LOG, losses=[(11.0, 12.0)]) == []
    assert observations.counts["direct messages lost in a failover"] == 1


def test_an_epoch_ends_for_a_reason(observations: Observations) -> None:
    for epoch in ("e", "f"):
        observations.entered("lobby", epoch)
    observations.settle_epochs(1)
    assert observations.faults == []
    observations.settle_epochs(0)
    assert observations.faults == ["the log: of lobby had 2 epochs; Redis restarted 0 times"]


class Script:
    """A WebSocket that brings what it is given."""

    def __init__(self, *frames: str) -> None:
        self._frames = list(frames)

    def send(self, message: str) -> None: ...

    def recv(self, timeout: float | None = None) -> str:
        return self._frames.pop(0)

    def close(self, code: int = 1000, reason: str = "") -> None: ...


def test_a_connection_that_leaves_an_event_out_is_found() -> None:
    joined = '{"type": "ok", "re": 2, "offset": 4, "epoch": "e"}'
    events = [f'{{"id": {i}, "chatroomId": "lobby", "type": "message", "message": "p1.{i}"}}' for i in (5, 7)]
    observations = Observations()
    link = RecordingLink(Script(events[0], joined, *events), "p1", observations)
    link.send('{"type": "join", "id": 2, "room": "lobby"}')
    link.recv()
    assert [it.partition(": {")[0] for it in observations.faults] == [
        "p1: was sent an event of lobby without being there"
    ]
    for _ in range(3):
        link.recv()
    assert observations.faults[1:] == ["p1: was sent event 7 of lobby after 5"]
    assert link.positions == {"lobby": ("e", 7)}


# -- the replica -------------------------------------------------------------------------------------


class ScriptedSite(Site):
    """A site of which the replica says, one after the other, what it is given."""

    def __init__(self, head: dict[str, Any], *replica: dict[str, Any]) -> None:
        self.primary, self.replica = "primary", "replica"  # type: ignore[assignment]
        self.answers = {self.primary: [head], self.replica: list(replica)}

    @contextmanager
    def client(self, store: Any) -> Iterator[Any]:
        yield SimpleNamespace(info=lambda section: self.answers[store].pop(0))


def test_a_failover_loses_what_was_acknowledged_since_the_replica_had_everything() -> None:
    """After a restart of Redis its replica takes seconds to be back, and has none of what came since."""
    head = {"master_replid": "new", "master_repl_offset": 100}
    site = ScriptedSite(
        head,
        {"master_link_status": "down", "master_replid": "old", "slave_repl_offset": 5000},
        {"master_link_status": "up", "master_replid": "old", "slave_repl_offset": 5000},
        {"master_link_status": "up", "master_replid": "new", "slave_repl_offset": 99},
        {"master_link_status": "up", "master_replid": "new", "slave_repl_offset": 100},
    )
    before = time.monotonic()
    assert site.await_replica() >= before
    assert site.answers == {"primary": [], "replica": []}


# -- clocks and networks -----------------------------------------------------------------------------


def conversation(command: list[str], extra: dict[str, str]) -> subprocess.Popen[str]:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return Child(command, env=environment(extra), text=True, **pipes)


def test_the_wall_clock_of_a_program_jumps(tmp_path: Path) -> None:
    library = clock.build(tmp_path)
    if library is None:
        pytest.skip("no C compiler is installed")
    own = clock.Clock(tmp_path / "clock", library)
    code = "import time\nfor _ in range(3): input(); print(time.time(), time.monotonic(), flush=True)"
    with conversation([sys.executable, "-c", code], own.environ) as program:
        assert program.stdin
        assert program.stdout
        for hours in (0, 1, -1):
            own.set(3600.0 * hours)
            program.stdin.write("\n")
            program.stdin.flush()
            wall, monotonic = map(float, program.stdout.readline().split())
            assert round((wall - time.time()) / 3600) == hours
            assert round((monotonic - time.monotonic()) / 3600) == 0


LOSING = """
import socket, subprocess, sys
from faulting import network
from faulting.proxy import PASS

echo = '''
import socket, sys
with socket.socket(type=socket.SOCK_DGRAM) as server:
    server.bind((sys.argv[1], 9000))
    print("ready", flush=True)
    while True:
        said, sender = server.recvfrom(9)
        server.sendto(said, sender)
        print(said.decode(), flush=True)
'''
if not network.enter():
    sys.exit("no namespaces")
namespace = network.Namespace(1)
link = network.Link(namespace, 0)
command = [*namespace.prefix, sys.executable, "-c", echo, link.there]
here = socket.socket(type=socket.SOCK_DGRAM)
here.settimeout(20)
with here, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as there:
    there.stdout.readline()
    here.connect((link.there, 9000))
    for number, mode in enumerate((PASS, network.LOSE, network.LOSE_THERE, network.LOSE_BACK, PASS)):
        link.set(mode)
        here.send(b"%d" % number)
        if mode in (PASS, network.LOSE_BACK):
            print("there:", there.stdout.readline().strip())
        if mode == PASS:
            print("back:", here.recv(9).decode(), flush=True)
    there.kill()
"""


def test_a_network_loses_packets_in_each_direction(tmp_path: Path) -> None:
    paths = os.pathsep.join((str(ROOT / "scripts"), str(ROOT)))
    with conversation([sys.executable, "-c", LOSING], {"PYTHONPATH": paths}) as program:
        out, err = program.communicate(timeout=60)
    if "no namespaces" in err:
        pytest.skip("network namespaces are not allowed here")
    assert out.split("\n") == ["there: 0", "back: 0", "there: 3", "there: 4", "back: 4", ""], err


# -- the proxy ---------------------------------------------------------------------------------------


@pytest.fixture
def served() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        yield server


@pytest.fixture
def proxy(served: socket.socket) -> Iterator[Proxy]:
    proxy = Proxy(served.getsockname()[1])
    yield proxy
    proxy.stop()


def test_a_proxy_whose_thread_has_seen_the_end_is_stopped(
    served: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy(served.getsockname()[1])
    wake, ended = proxy._waker, threading.Event()

    class EndedFirst:
        def send(self, data: bytes) -> int:
            wake.send(data)
            proxy._thread.join(PATIENCE)
            ended.set()
            return wake.send(data)

        def close(self) -> None:
            wake.close()

    monkeypatch.setattr(proxy, "_waker", EndedFirst())
    proxy.stop()
    assert ended.is_set()
    assert wake.fileno() == proxy._woken.fileno() == -1


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE)


def read_new(proxy: Proxy) -> bytes:
    with connect(proxy) as sock:
        return sock.recv(9)


def is_reset(act: Callable[[], bytes]) -> bool:
    try:
        return act() == b""
    except ConnectionError:
        return True


def test_a_proxy_passes_hangs_and_cuts(proxy: Proxy, served: socket.socket) -> None:
    with connect(proxy) as near, served.accept()[0] as far:
        far.settimeout(PATIENCE)
        near.sendall(b"one")
        assert far.recv(9) == b"one"
        far.sendall(b"two")
        assert near.recv(9) == b"two"
        proxy.set(HANG)
        near.sendall(b"three")
        with connect(proxy) as later:  # the system accepts it, and nobody answers
            proxy.set(PASS)
            assert far.recv(9) == b"three", "nothing is lost"
            served.accept()[0].close()
            assert is_reset(lambda: later.recv(9))
        proxy.set(CUT)
        assert is_reset(lambda: near.recv(9))
        assert is_reset(lambda: far.recv(9))
    assert is_reset(lambda: read_new(proxy))


def test_what_hung_is_lost_by_a_cut(proxy: Proxy, served: socket.socket) -> None:
    with connect(proxy) as near, served.accept()[0] as far:
        far.settimeout(PATIENCE)
        proxy.set(HANG)
        until(lambda: proxy._watched is False, "it to hang")
        near.sendall(b"lost")
        proxy.set(CUT)
        assert is_reset(lambda: far.recv(9))


def test_nothing_reaches_the_former_target_once_a_proxy_leads_elsewhere(proxy: Proxy) -> None:
    resets, may_reset = threading.Event(), threading.Event()
    reset_all = proxy._reset_all

    def reset_later(selector: Any) -> None:
        resets.set()
        assert may_reset.wait(PATIENCE)
        reset_all(selector)

    proxy._reset_all = reset_later  # type: ignore[method-assign]
    for act in (lambda: proxy.lead_to(1), lambda: proxy.set(CUT)):
        leading = threading.Thread(target=act)
        leading.start()
        assert resets.wait(PATIENCE)
        leading.join(0.1)
        assert leading.is_alive(), "it waits"
        may_reset.set()
        leading.join(PATIENCE)
        assert not leading.is_alive()
        resets.clear()
        may_reset.clear()
    may_reset.set()


def test_a_proxy_leads_elsewhere(proxy: Proxy, served: socket.socket) -> None:
    with connect(proxy) as near, served.accept()[0], socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(PATIENCE)
        proxy.lead_to(other.getsockname()[1])
        assert is_reset(lambda: near.recv(9))
        with connect(proxy) as again, other.accept()[0] as there:
            again.sendall(b"hello")
            there.settimeout(PATIENCE)
            assert there.recv(9) == b"hello"
