"""What the benchmark makes of its measurements: sums, verdicts, tables, history. No speed is judged here."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.bench.bench_helpers import SERVERS, WORKLOADS

# isort: split

from benchmark import arguments, history, plot, tables
from benchmark.__main__ import takes_part
from benchmark.capacity import PRECISION, highest_rate
from benchmark.measurement import Measurement
from benchmark.servers import ALL_PEERS, OURS
from benchmark.summary import Spread, Summary
from benchmark.targets import Target, all_targets
from benchmark.workloads import CAPACITY, DELIVERIES, P99, SERVED, Workload


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


def test_a_target_may_judge_another_server_than_ours() -> None:
    summary = Summary(
        [
            replace(measurement("threadchat", 1, 100), figures={"capacity": 100}),
            replace(measurement("workers", 1, 150), figures={"capacity": 150}),
        ]
    )
    line = summary.line(Target("w", CAPACITY, "threadchat", 1.3, 1.6, server="workers"), {"w"})
    assert line.verdict == "met"
    assert "w, workers" in tables.reached([line])


def test_every_target_names_a_workload_and_somebody() -> None:
    somebody = {"", *WORKLOADS, *SERVERS}
    for target in all_targets(1000):
        assert target.metric in WORKLOADS[target.workload].metrics
        assert target.against in somebody
        assert target.server in somebody


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
    assert Summary([faulty]).our_faults() == ["w, threadchat, round 2: 7 out of order; first: closed: 3008"]


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


# ---- who takes part ----


@pytest.mark.parametrize(
    ("server", "workload", "expected"),
    [
        ("threadchat", "storm", True),
        ("websockets.sync", "storm", False),
        ("websockets.sync", "rooms-50x20-capacity", False),
        ("websockets.asyncio", "rooms-50x20-capacity", True),
        ("floor", "fanout-1000-w1", True),
        ("floor", "fanout-1000-w64", False),
        ("threadchat-sqlite", "rooms-50x20-w16", True),
    ],
)
def test_who_takes_part(server: str, workload: str, expected: bool) -> None:
    assert takes_part(SERVERS[server], WORKLOADS[workload]) is expected


def test_a_rate_is_that_of_all_talkers_together() -> None:
    assert WORKLOADS["rooms-50x20"].at_rate(500).rate == 0.5
    assert WORKLOADS["storm"].at_rate(500).rate == 25


# ---- the search for a capacity ----


@pytest.mark.parametrize("most", [90.0, 100.0, 731.0, 5000.0])
def test_the_highest_rate_is_found(most: float) -> None:
    found = highest_rate(500, lambda rate: rate <= most, 20)
    assert most / PRECISION <= found <= most


def test_the_search_ends_after_so_many_steps() -> None:
    tried: list[float] = []
    assert highest_rate(100, lambda rate: not tried.append(rate), 3) == 400  # type: ignore[func-returns-value]
    assert tried == [100, 200, 400]
    assert highest_rate(100, lambda rate: False, 3) == 0


# ---- history ----


def a_run(*deliveries: float, commit: str = "abc") -> dict[str, Any]:
    rounds = [measurement("threadchat", number, value) for number, value in enumerate(deliveries, 1)]
    return {
        "machine": {"date": "2026-11-30 17:00 UTC", "processor": "a processor", "commit": commit},
        "versions": {"python": "3.11.7"},
        "workloads": [asdict(Workload("w", "a room", (DELIVERIES,), 10))],
        "measurements": [asdict(one) for one in rounds],
    }


def test_a_run_is_compared_with_an_earlier_one() -> None:
    told = history.compare(a_run(100, 110, 120), a_run(200, 220, 300, commit="def"))
    assert "old: 2026-11-30 17:00 UTC, abc, a processor, Python 3.11.7" in told
    assert "def" in told
    cells = [cell.strip() for cell in told.splitlines()[-3].split("|")]
    assert cells[1:8] == ["w", "threadchat", "deliveries", "110 /s", "220 /s", "2.00 ×", "more is better"]
    assert cells[8:10] == ["100 – 120 /s", "200 – 300 /s (!)"]
    assert "more than a third" in told


def test_what_only_one_of_two_runs_has_is_left_out() -> None:
    old = a_run(100)
    for one in old["measurements"]:
        del one["figures"]["deliveries_per_second"]
    assert "deliveries" not in history.compare(old, a_run(100))


def test_every_run_is_kept(tmp_path: Path) -> None:
    run = a_run(100)
    written = json.dumps(run)
    history.keep(tmp_path, "results", run["machine"], written)
    (kept,) = (tmp_path / "history").iterdir()
    assert kept.name == "results-2026-11-30-1700-abc.json"
    assert history.load(kept) == json.loads(written)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"measurements": [{"no": 1}]}'])
def test_a_file_that_holds_no_run_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(history.NoRun, match="does not hold the results of a run"):
        history.load(tmp_path / "file")


def test_rounds_that_differ_by_more_than_a_third_are_marked() -> None:
    assert not Spread(90, 80, 110).is_unsteady
    assert Spread(90, 79, 110).is_unsteady
    assert tables.range_of(Spread(90, 79, 110), DELIVERIES) == "79.0 – 110 /s (!)"
