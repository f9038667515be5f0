"""Keeps the results of every run, and compares one with another, row by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmark import tables
from benchmark.measurement import Measurement
from benchmark.summary import Summary
from benchmark.workloads import Metric

Run = dict[str, Any]
"""What a results.json or cluster.json has."""


class NoRun(ValueError):
    """Raised for a file that does not hold the results of a run."""


def keep(out: Path, name: str, machine: dict[str, str], written: str) -> None:
    """Write the results of a run into `out`/history, under its name, date and commit."""
    stem = "-".join([name, *machine["date"].replace(":", "").split()[:2], machine["commit"]])
    (out / "history").mkdir(exist_ok=True)
    (out / "history" / f"{stem}.json").write_text(written)


def load(path: Path) -> Run:
    """Return the results that `path` holds."""
    try:
        run: Run = json.loads(path.read_text())
        summary(run)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise NoRun(f"{path} does not hold the results of a run: {error}") from error
    return run


def summary(run: Run) -> Summary:
    """Return the figures of a run for lookup."""
    return Summary([Measurement(**one) for one in run["measurements"]])


def _where(run: Run) -> str:
    known = {**run["machine"], "Python": run["versions"].get("python", "unknown")}
    return ", ".join(known.get(key, f"unknown {key}") for key in ("date", "commit", "processor")) + (
        f", Python {known['Python']}"
    )


def compare(old: Run, new: Run) -> str:
    """Return a table with a line for each figure that both runs have, and the ratio of the medians."""
    before, after = summary(old), summary(new)
    rows = []
    for workload in new["workloads"]:
        servers = dict.fromkeys(one.server for one in after.measurements if one.workload == workload["name"])
        for metric in (Metric(**one) for one in workload["metrics"]):
            for server in servers:
                spreads = [run.spread(workload["name"], server, metric) for run in (before, after)]
                was, now = spreads
                if was is None or now is None:
                    continue
                ratio = f"{now.median / was.median:.2f} ×" if was.median else "–"
                ranges = [tables.range_of(one, metric) for one in (was, now)]
                medians = [metric.show(one.median) for one in (was, now)]
                better = "more" if metric.more_is_better else "less"
                rows.append(
                    (workload["name"], server, metric.label, *medians, ratio, f"{better} is better", *ranges)
                )
    head = ("workload", "server", "figure", "old", "new", "new ÷ old", "", "old rounds", "new rounds")
    table = tables.markdown(head, rows)
    parts = [f"old: {_where(old)}\nnew: {_where(new)}", table, tables.steadiness_note(table)]
    return "\n\n".join(part for part in parts if part)
