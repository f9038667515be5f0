"""Draws the result as SVG: a panel for each workload, a bar for each server, a line for the spread."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from xml.sax.saxutils import escape

from benchmark.servers import OURS
from benchmark.summary import Spread, Summary
from benchmark.workloads import Metric, Workload

COLUMNS = 3
PANEL_WIDTH, BAR_HEIGHT, TITLE_HEIGHT, GAP = 360, 20, 46, 24
NAME_WIDTH, VALUE_WIDTH = 118, 92
CAPTION_LETTERS = 220  # of a line
OUR_COLOUR, PEER_COLOUR, INK, FAINT = "#b3261e", "#8fa3b8", "#1f2328", "#59636e"


def _text(x: float, y: float, words: str, *, size: int = 11, colour: str = INK, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}"{more}>{escape(words)}</text>'


def _not_below_zero(spread: Spread) -> Spread:
    """Return the value that a bar shows. Memory per connection may be negative in a small run."""
    return Spread(max(spread.median, 0), max(spread.least, 0), max(spread.most, 0))


def _bar(left: float, y: float, name: str, spread: Spread, *, scale: float, metric: Metric) -> list[str]:
    """Return a bar that begins at `left`, with its name before it and its value after it."""
    middle = y + BAR_HEIGHT / 2
    colour = OUR_COLOUR if name == OURS.name else PEER_COLOUR
    shown = _not_below_zero(spread)
    low, high = left + shown.least * scale, left + shown.most * scale
    return [
        _text(left - 6, middle + 4, name, more=' text-anchor="end"'),
        f'<rect x="{left:.1f}" y="{y + 3:.1f}" width="{max(shown.median * scale, 1):.1f}"'
        f' height="{BAR_HEIGHT - 6}" fill="{colour}"/>',
        f'<path d="M{low:.1f} {middle:.1f}H{high:.1f}" stroke="{INK}"/>',
        _text(high + 6, middle + 4, metric.show(spread.median)),
    ]


def _panel(x: float, y: float, workload: Workload, bars: list[tuple[str, Spread]]) -> list[str]:
    metric = workload.metrics[0]
    better = "more is better" if metric.more_is_better else "less is better"
    most = max(spread.most for _, spread in bars)
    scale = (PANEL_WIDTH - NAME_WIDTH - VALUE_WIDTH) / most if most > 0 else 0
    parts = [
        _text(x, y + 14, f"{workload.name}: {metric.label}, {better}", size=12, more=' font-weight="bold"'),
        _text(x, y + 30, workload.title, size=10, colour=FAINT),
    ]
    for number, (name, spread) in enumerate(bars):
        top = y + TITLE_HEIGHT + number * BAR_HEIGHT
        parts += _bar(x + NAME_WIDTH, top, name, spread, scale=scale, metric=metric)
    return parts


def draw(summary: Summary, workloads: Sequence[Workload], servers: Sequence[str], caption: str) -> str:
    """Return the whole picture as SVG text."""
    panels = []
    for workload in workloads:
        found = [(name, summary.spread(workload.name, name, workload.metrics[0])) for name in servers]
        bars = [(name, spread) for name, spread in found if spread is not None]
        if bars:
            panels.append((workload, bars))
    heading = textwrap.wrap(caption, CAPTION_LETTERS)
    parts = [_text(GAP, 24 + 13 * number, line, size=9, colour=FAINT) for number, line in enumerate(heading)]
    top = 27.0 + 13 * len(heading)
    for first in range(0, len(panels), COLUMNS):
        row = panels[first : first + COLUMNS]
        for column, (workload, bars) in enumerate(row):
            parts += _panel(GAP + column * (PANEL_WIDTH + GAP), top, workload, bars)
        top += TITLE_HEIGHT + GAP + BAR_HEIGHT * max(len(bars) for _, bars in row)
    width = GAP + COLUMNS * (PANEL_WIDTH + GAP)
    size = f'width="{width}" height="{top:.0f}" viewBox="0 0 {width} {top:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">'
    paper = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return "\n".join([head, paper, *parts, "</svg>\n"])
