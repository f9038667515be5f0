"""Formats the result as Markdown tables: the measurements, and the targets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmark.measurement import BUSY
from benchmark.servers import OURS
from benchmark.summary import Line, Spread, Summary
from benchmark.workloads import CPU_EACH, Metric, Workload

UNSTEADY = " (!)"
SERVER_SHARE = Metric("server_cpu", "server", "%", scale=100)
LOAD_SHARE = Metric("load_cpu", "load generator", "%", scale=100)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table with aligned columns: text on the left, numbers on the right."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]

    def row(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [("-" * width if column < 2 else "-" * (width - 1) + ":") for column, width in enumerate(widths)]
    return "\n".join([row(lines[0]), row(rule), *map(row, lines[1:])])


def range_of(spread: Spread | None, metric: Metric) -> str:
    if spread is None:
        return ""
    least = metric.show(spread.least).removesuffix(metric.unit).strip()
    return f"{least} – {metric.show(spread.most)}{UNSTEADY * spread.is_unsteady}"


def _times(spread: Spread | None) -> tuple[str, str]:
    if spread is None:
        return "", ""
    return f"{spread.median:.2f} ×", f"{spread.least:.2f} – {spread.most:.2f}"


def _row(summary: Summary, workload: Workload, metric: Metric, server: str) -> tuple[str, ...] | None:
    spread = summary.spread(workload.name, server, metric)
    if spread is None:
        return None
    ratio = None if server == OURS.name else summary.ratio_to(workload.name, server, metric)
    each = summary.spread(workload.name, server, CPU_EACH)
    cpu = summary.spread(workload.name, server, SERVER_SHARE)
    load = summary.spread(workload.name, server, LOAD_SHARE)
    return (
        workload.name,
        server,
        metric.label,
        metric.show(spread.median),
        range_of(spread, metric),
        _times(ratio)[0],
        CPU_EACH.show(each.median) if each and each.median else "",
        SERVER_SHARE.show(cpu.median) if cpu else "",
        LOAD_SHARE.show(load.most) if load else "",
    )


def measured(summary: Summary, workloads: Iterable[Workload], servers: Sequence[str]) -> str:
    """Return one line for each workload, figure and server; the last two columns are shares of one core."""
    head = (
        *("workload", "server", "figure", "median", "least – most", "ours ÷ it"),
        *("CPU a delivery", "server CPU", "load CPU"),
    )
    rows = [
        _row(summary, workload, metric, server)
        for workload in workloads
        for metric in workload.metrics
        if metric is not CPU_EACH  # it has a column of its own
        for server in servers
    ]
    return markdown(head, [row for row in rows if row is not None])


def _bound(value: float | None, plain: bool) -> str:
    if value is None:
        return "–"
    return f"{value:,g}" if plain else f"{value:g} ×"


def reached(lines: Iterable[Line]) -> str:
    """Return the table of targets."""
    head = (
        *("workload", "against", "figure", "ours", "theirs", "ratio", "spread"),
        *("at least", "aim", "verdict"),
    )
    rows = []
    for line in lines:
        target, metric = line.target, line.target.metric
        ratio, spread = _times(line.ratio)
        plain = not target.against
        rows.append(
            (
                target.workload if target.server == OURS.name else f"{target.workload}, {target.server}",
                target.against or "–",
                metric.label,
                metric.show(line.ours.median) if line.ours else "–",
                metric.show(line.theirs.median) if line.theirs else "–",
                ratio or "–",
                spread or "–",
                _bound(target.floor, plain),
                _bound(target.aim, plain),
                line.verdict,
            )
        )
    return markdown(head, rows)


def steadiness_note(text: str) -> str:
    """Return what the mark of a row means if `text` has one."""
    return "(!): the rounds differ by more than a third of their median." if UNSTEADY in text else ""


def load_note(summary: Summary) -> str:
    """Return a sentence that says whether the load generator may have been the bottleneck."""
    busiest = summary.busiest_load()
    if busiest is None:
        return ""
    share, one = busiest
    where = f"{share:.0%} of a core ({one.workload}, {one.server})"
    if share < BUSY:
        return f"The load generator took {where} at the most: it was never what limited."
    return f"The load generator took {where}: there it may have been what limited."
