"""The report at the end of a soak: a table, and the faults with the seed that repeats them."""

from __future__ import annotations

from collections.abc import Iterator

from soaking.quiet import MIB, Quiet
from soaking.simulation import Simulation

_FIRST = (
    "connections",
    "messages acknowledged",
    "acknowledged and seen",
    "events received",
    "frames received",
    "private messages delivered",
    "positions recovered",
    "positions lost",
    "sent again after a loss",
    "cut off for reading too little",
)


def table(simulation: Simulation, quiet: Quiet) -> Iterator[str]:
    """The figures, one a line."""
    counts = simulation.counts
    for name in _FIRST:
        yield f"{name:<32}{counts[name]:>12,}"
    for prefix in ("closed with", "refused with", "did", "disturbed by"):
        found = sorted(
            (name.removeprefix(prefix).strip(), count)
            for name, count in counts.items()
            if name.startswith(prefix)
        )
        yield f"{prefix}: " + ", ".join(f"{name} {count:,}" for name, count in found)
    yield f"longest pause of the driver itself: {simulation.worst_lag:.2f} s"
    yield "quiet points:   second   people   threads   descriptors   memory, MiB"
    for moment in quiet.moments:
        held = moment.held
        memory = f"{held.memory / MIB:.1f}"
        yield f"{moment.when:>22.0f}{moment.people:>9}{held.threads:>10}{held.descriptors:>14}{memory:>14}"


def faults(simulation: Simulation, seed: int) -> Iterator[str]:
    """The faults, each with the last actions of the person who noticed it."""
    checker = simulation.checker
    for fault in checker.faults:
        yield f"FAULT: {fault.who}: {fault.what}"
        yield from (f"    {action}" for action in fault.actions)
    if checker.faults_in_all > len(checker.faults):
        yield f"... and {checker.faults_in_all - len(checker.faults)} more faults"
    if checker.faults_in_all:
        yield f"seed {seed}: --seed {seed} repeats the same actions; the timing may still differ"
