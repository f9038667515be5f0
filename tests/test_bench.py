"""The benchmark: its load generator counts right and finds faults, its sums are right, and it runs.

Nothing here asserts how fast anything is.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any
from xml.etree import ElementTree

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT / "scripts"))

from benchmark import arguments, plot, tables, toolchain  # noqa: E402
from benchmark.measurement import Measurement, Tools, measure  # noqa: E402
from benchmark.servers import ALL_PEERS, OURS  # noqa: E402
from benchmark.summary import Spread, Summary  # noqa: E402
from benchmark.targets import Target, all_targets  # noqa: E402
from benchmark.workloads import DELIVERIES, P99, SERVED, Workload, all_workloads  # noqa: E402

WORKLOADS = {workload.name: workload for workload in all_workloads(200)}
SYNC = ALL_PEERS[0]

needs_compiler = pytest.mark.skipif(
    not (shutil.which("gcc") or shutil.which("cc")), reason="the load generator needs a C compiler"
)


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toolchain.load_generator(tmp_path_factory.mktemp("bench"))


# ---- the load generator against a server that can be told to misbehave ----

Handler = Callable[[ServerConnection, set[ServerConnection]], None]


def relay(connection: ServerConnection, members: set[ServerConnection]) -> None:
    for message in connection:
        for member in list(members):
            member.send(message)


@contextmanager
def a_room(handler: Handler, members: set[ServerConnection] | None = None) -> Iterator[int]:
    """Serve one room, whose members `handler` looks after; yield its port. Several may share members."""
    members = set() if members is None else members

    def handle(connection: ServerConnection) -> None:
        members.add(connection)
        try:
            handler(connection, members)
        except ConnectionClosed:
            pass
        finally:
            members.discard(connection)

    with serve(handle, "127.0.0.1", 0, compression=None) as server:
        thread = Thread(target=Server.serve_forever, args=(server,), name="room", daemon=True)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join()


def generate(load: Path, port: int | str, *words: str) -> dict[str, Any]:
    """Let ten members hear one talker, unless `words` say otherwise."""
    common = ["--publish", '{"message":"{marker}"}', "--connections=10", "--talkers=1", "--warmup=0"]
    command = [str(load), f"--port={port}", "--settle=0.1", "--seconds=0.2", "--drain=0.3", *common, *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


@needs_compiler
class TestLoadGenerator:
    def test_counts_what_everybody_gets(self, load: Path) -> None:
        with a_room(relay) as port:
            figures = generate(load, port, "--window=2")
        assert figures["ready"] == figures["served"] == 10
        assert 0 < figures["deliveries"] <= 10 * figures["sent"]
        assert figures["missing"] == figures["out_of_order"] == figures["strangers"] == figures["closed"] == 0
        assert 0 < figures["latency_p50_ms"] <= figures["latency_p99_ms"] <= 1.05 * figures["latency_max_ms"]

    def test_keeps_to_a_rate_whatever_comes_back(self, load: Path) -> None:
        def swallow(connection: ServerConnection, members: set[ServerConnection]) -> None:
            for _ in connection:
                pass

        with a_room(swallow) as port:
            figures = generate(load, port, "--rate=100", "--talkers=2")
        assert figures["sent"] == 2 * 100 * 0.2
        assert figures["deliveries"] == figures["served"] == 0
        assert figures["missing"] == 10 * figures["sent"]
        assert figures["latency_p50_ms"] > 0, "what never came counts with the time it was waited for"

    def test_finds_a_hole(self, load: Path) -> None:
        def lossy(connection: ServerConnection, members: set[ServerConnection]) -> None:
            for number, message in enumerate(connection):
                for member in list(members):
                    if number != 3 or member is not connection:
                        member.send(message)

        with a_room(lossy) as port:
            figures = generate(load, port, "--rate=100")
        assert figures["out_of_order"] == 1

    def test_finds_what_changed_places(self, load: Path) -> None:
        def swap(connection: ServerConnection, members: set[ServerConnection]) -> None:
            for first in connection:
                for message in (connection.recv(), first):
                    for member in list(members):
                        member.send(message)

        with a_room(swap) as port:
            figures = generate(load, port, "--window=4")
        assert figures["out_of_order"] > 0

    def test_finds_what_came_twice(self, load: Path) -> None:
        def repeat(connection: ServerConnection, members: set[ServerConnection]) -> None:
            for message in connection:
                for member in list(members) * 2:
                    member.send(message)

        with a_room(repeat) as port:
            figures = generate(load, port, "--window=1")
        assert figures["out_of_order"] > 0

    def test_finds_what_went_to_somebody_else(self, load: Path) -> None:
        with a_room(relay) as port:
            figures = generate(load, port, "--groups=2", "--window=1")
        assert figures["strangers"] > 0

    def test_reports_a_close_with_its_code(self, load: Path) -> None:
        def leave(connection: ServerConnection, members: set[ServerConnection]) -> None:
            connection.recv()
            connection.close(4321, "enough")

        with a_room(leave) as port:
            figures = generate(load, port, "--window=1")
        assert figures["closed"] == 1
        assert figures["first_fault"] == "closed: 4321 enough"

    def test_goes_on_when_a_member_is_lost(self, load: Path) -> None:
        def quit_after_one(connection: ServerConnection, members: set[ServerConnection]) -> None:
            for message in connection:
                for member in list(members):
                    member.send(message)
                if (other := next((one for one in members if one is not connection), None)) is not None:
                    members.discard(other)
                    other.close()

        with a_room(quit_after_one) as port:
            figures = generate(load, port, "--window=1")
        assert figures["closed"] == 9
        assert figures["sent"] > 9
        assert figures["missing"] == 0

    def test_stalled_members_do_not_count(self, load: Path) -> None:
        with a_room(relay) as port:
            figures = generate(load, port, "--window=1", "--stalled=1")
        assert figures["ready"] == 11
        assert figures["served"] == 10
        assert figures["missing"] == 0

    def test_answers_pings(self, load: Path) -> None:
        answered: list[bool] = []

        def ping(connection: ServerConnection, members: set[ServerConnection]) -> None:
            answered.append(connection.ping().wait(timeout=10))
            for _ in connection:
                pass

        with a_room(ping) as port:
            generate(load, port, "--talkers=0")
        assert answered == [True] * 10

    def test_greets_and_learns_who_it_is(self, load: Path) -> None:
        heard: list[int] = []

        def greet(connection: ServerConnection, members: set[ServerConnection]) -> None:
            hello = str(connection.recv())
            connection.send(json.dumps({"type": "ok", "re": 1, "user": 700 + int(hello[1:])}))
            for message in connection:
                heard.append(json.loads(message)["to"])

        with a_room(greet) as port:
            words = [
                "--hello=u{n}",
                "--identity=user",
                "--ready=re=1",
                '--publish={"to":{to},"m":"{marker}"}',
            ]
            figures = generate(
                load, port, "--connections=4", "--groups=2", "--talkers=2", "--direct", "--window=1", *words
            )
        assert figures["ready"] == 4
        assert sorted(heard) == [700, 701, 702, 703]

    def test_spreads_each_group_over_several_servers(self, load: Path) -> None:
        met: dict[int, int] = {}

        def count_and_relay(connection: ServerConnection, members: set[ServerConnection]) -> None:
            port = connection.local_address[1]
            met[port] = met.get(port, 0) + 1
            relay(connection, members)

        everybody: set[ServerConnection] = set()
        with a_room(count_and_relay, everybody) as one, a_room(count_and_relay, everybody) as other:
            figures = generate(load, f"{one},{other}", "--window=2", "--talkers=2")
        assert met == {one: 5, other: 5}
        assert figures["ready"] == figures["served"] == 10
        assert figures["missing"] == figures["out_of_order"] == figures["strangers"] == figures["closed"] == 0

    def test_finds_what_one_of_several_servers_does_not_deliver(self, load: Path) -> None:
        with a_room(relay) as one, a_room(relay) as other:  # each for itself
            figures = generate(load, f"{one},{other}", "--rate=100")
        assert figures["served"] == 5
        assert figures["missing"] == 5 * figures["sent"] > 0

    def test_halts_where_it_is_told_to(self, load: Path) -> None:
        with a_room(relay) as port:
            command = [str(load), f"--port={port}", "--publish={marker}", "--connections=2", "--talkers=1"]
            command += ["--window=1", "--warmup=0", "--seconds=0.1", "--halt"]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
                assert process.stderr.readline() == "opened\n"
                assert process.poll() is None
                process.stdin.write("\n")
                process.stdin.flush()
                assert process.stderr.readline() == "talked\n"
                output, _ = process.communicate("\n", timeout=30)
        assert json.loads(output)["deliveries"] > 0

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            (["--port=80,x"], "commas"),
            ([f"--port={','.join('123456789' * 2)}"], "at most 16"),
            (["--groups=3"], "multiple"),
            (["--talkers=11"], "talkers"),
            (["--publish=x"], "marker"),
            (["--nonsense"], "nonsense"),
            (["--window=1", "--rate=1"], "either"),
        ],
    )
    def test_says_what_is_wrong_with_its_options(self, load: Path, words: list[str], complaint: str) -> None:
        assert complaint in generate(load, 1, *words)["error"]

    def test_says_that_nobody_is_there(self, load: Path) -> None:
        figures = generate(load, 1, "--window=1")
        assert figures["ready"] == 0
        assert "refused" in figures["first_fault"]


# ---- one measurement, with a peer whose library the tests have anyway ----


@needs_compiler
@pytest.mark.parametrize(
    "name", ["fanout-100-w4", "direct-100-w16", "rooms-50x20", "connects", "memory-1000", "idle-5000"]
)
def test_a_peer_can_be_measured(load: Path, tmp_path: Path, name: str) -> None:
    workload = WORKLOADS[name].quickened()
    one = measure(Tools(PROJECT, Path(sys.executable), load), SYNC, workload, 1, tmp_path)
    assert one.faults() == []
    assert one.figures["ready"] == workload.connections
    assert all(one.value(metric) is not None for metric in workload.metrics)


@needs_compiler
@pytest.mark.parametrize("name", ["fanout-1000-w64", "publish-1000-w64", "emit-1000-w64"])
def test_an_event_is_measured_as_a_message_is(load: Path, tmp_path: Path, name: str) -> None:
    workload = WORKLOADS[name].quickened()
    one = measure(Tools(PROJECT, Path(sys.executable), load), OURS, workload, 1, tmp_path)
    assert one.faults() == []
    assert one.figures["deliveries"] > 0


@needs_compiler
def test_a_server_that_does_not_start_is_a_failed_measurement(load: Path, tmp_path: Path) -> None:
    one = measure(Tools(PROJECT, Path(shutil.which("false") or ""), load), SYNC, HEALTHY, 1, tmp_path)
    assert one.failure.startswith("the server ended")
    assert one.value(DELIVERIES) is None


# ---- sums, verdicts, tables ----

HEALTHY = WORKLOADS["room-healthy"]


def measurement(
    server: str, number: int, deliveries: float, workload: str = "w", p99: float = 1
) -> Measurement:
    figures = {
        "deliveries_per_second": deliveries,
        "latency_p99_ms": p99,
        "load_cpu": 0.5,
        "served": 10,
        "server_us_per_delivery": 2.0,
        "server_cpu": 0.7,
    }
    return Measurement(workload, server, number, figures)


def three_rounds() -> Summary:
    ours = [measurement("threadchat", number, value) for number, value in enumerate([300, 100, 200], 1)]
    theirs = [measurement("peer", number, value) for number, value in enumerate([100, 100, 50], 1)]
    return Summary([*ours, *theirs])


def test_the_ratio_is_that_of_the_medians_and_its_spread_that_of_the_rounds() -> None:
    assert three_rounds().ratio_to("w", "peer", DELIVERIES) == Spread(2.0, 1.0, 4.0)


def test_a_failed_round_is_left_out() -> None:
    rounds = [*three_rounds().measurements, Measurement("w", "peer", 4, failure="it broke")]
    assert Summary(rounds).rounds("w", "peer", DELIVERIES) == {1: 100, 2: 100, 3: 50}


@pytest.mark.parametrize(
    ("value", "more", "less"),
    [(3.0, "aim", "SHORT"), (1.5, "met", "SHORT"), (0.9, "SHORT", "met"), (0.4, "SHORT", "aim")],
)
def test_verdicts(value: float, more: str, less: str) -> None:
    assert Target("w", DELIVERIES, "peer", 1, 2).verdict(value) == more
    assert Target("w", P99, "peer", 1, 0.5).verdict(value) == less


def test_a_target_without_a_floor_is_never_short_of_it() -> None:
    assert Target("w", DELIVERIES, "peer", None, 0.5).verdict(0.1) == "short of the aim"
    assert Target("w", DELIVERIES, "peer", 1.5, None).verdict(9) == "met"


def test_lines_compare_with_a_peer_with_a_workload_or_with_nobody() -> None:
    summary = Summary(
        [
            measurement("threadchat", 1, 90, "stalled"),
            measurement("threadchat", 1, 100, "healthy"),
            measurement("peer", 1, 30, "stalled"),
        ]
    )
    names = {"stalled", "healthy"}
    to_peer = summary.line(Target("stalled", DELIVERIES, "peer", 2, 4), names)
    to_self = summary.line(Target("stalled", DELIVERIES, "healthy", 0.95, 1), names)
    plain = summary.line(Target("stalled", SERVED, "", 5, 20), names)
    absent = summary.line(Target("stalled", DELIVERIES, "go-hub", 2, 4), names)
    assert [line.verdict for line in (to_peer, to_self, plain, absent)] == [
        "met",
        "SHORT",
        "met",
        "not measured",
    ]
    table = tables.reached([to_peer, to_self, plain, absent])
    assert "3.00 ×" in table
    assert "0.90 ×" in table
    assert len({len(row) for row in table.splitlines()}) == 1


def test_every_target_names_a_workload_and_somebody() -> None:
    somebody = {"", *WORKLOADS, *(peer.name for peer in ALL_PEERS)}
    for target in all_targets(1000):
        assert target.metric in WORKLOADS[target.workload].metrics
        assert target.against in somebody


def test_the_plot_is_wellformed_and_names_everybody() -> None:
    workload = Workload("w", "a <b> & c", (DELIVERIES,), 10)
    picture = plot.draw(three_rounds(), [workload], ["threadchat", "peer"], "caption")
    words = [element.text for element in ElementTree.fromstring(picture).iter() if element.text]
    assert {"threadchat", "peer", "a <b> & c", "caption", "200 /s"} <= set(words)


def test_faults_of_ours_are_told_and_a_clean_run_has_none() -> None:
    counted = dict.fromkeys(["failed", "closed", "out_of_order", "missing", "strangers", "errors"], 0)
    clean = Measurement("w", OURS.name, 1, {**counted, "first_fault": ""})
    faulty = Measurement("w", OURS.name, 2, {**counted, "out_of_order": 7, "first_fault": "closed: 3008"})
    assert Summary([clean]).our_faults() == []
    assert Summary([faulty]).our_faults() == ["w, round 2: 7 out of order; first: closed: 3008"]


# ---- the command line ----


def test_a_workload_brings_its_baseline() -> None:
    chosen = arguments.chosen_workloads(["room-st*"], quick=False, known=list(WORKLOADS.values()))
    assert [workload.name for workload in chosen] == ["room-healthy", "room-stalled"]


def test_names_that_do_not_exist_are_refused_with_those_that_do() -> None:
    with pytest.raises(arguments.Unknown, match="fanout-100-w1"):
        arguments.chosen_workloads(["fan-out"], quick=False, known=list(WORKLOADS.values()))
    with pytest.raises(arguments.Unknown, match="go-hub"):
        arguments.chosen_peers(["golang"])


def test_a_cluster_has_no_peers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments.parse(["--cluster", "--peers", "picows"])
    assert "threadchat alone" in capsys.readouterr().err


def test_peers_all_some_none() -> None:
    assert arguments.chosen_peers(None) == list(ALL_PEERS)
    assert [peer.name for peer in arguments.chosen_peers(["picows"])] == ["picows"]
    assert arguments.chosen_peers([]) == []


@needs_compiler
def test_the_whole_command_runs(tmp_path: Path) -> None:
    command = [str(PROJECT / "scripts" / "bench"), "--quick", "--no-setup", "--python", sys.executable]
    command += ["--peers", SYNC.name, "--out", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    measured = {(one["workload"], one["server"]) for one in results["measurements"]}
    assert ("fanout-100-w4", "threadchat") in measured
    assert ("fanout-100-w4", "websockets.sync") in measured
    assert "threadchat" in (tmp_path / "results.md").read_text()
    ElementTree.fromstring((tmp_path / "plot.svg").read_text())
