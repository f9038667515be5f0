"""What a soak has to say in the end: a table, or what went wrong and how to see it again."""

from __future__ import annotations

from collections.abc import Iterator

from soaking.quiet import MIB, Quiet
from soaking.town import Town

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


def table(town: Town, quiet: Quiet) -> Iterator[str]:
    """The figures, a line each."""
    counts = town.counts
    for name in _FIRST:
        yield f"{name:<32}{counts[name]:>12,}"
    for prefix in ("closed with", "refused with", "did", "disturbed by"):
        found = sorted(
            (name.removeprefix(prefix).strip(), count)
            for name, count in counts.items()
            if name.startswith(prefix)
        )
        yield f"{prefix}: " + ", ".join(f"{name} {count:,}" for name, count in found)
    yield f"longest pause of the driver itself: {town.worst_lag:.2f} s"
    yield "quiet points:   second   people   threads   descriptors   memory, MiB"
    for moment in quiet.moments:
        held = moment.held
        memory = f"{held.memory / MIB:.1f}"
        yield f"{moment.when:>22.0f}{moment.people:>9}{held.threads:>10}{held.descriptors:>14}{memory:>14}"


def faults(town: Town, seed: int) -> Iterator[str]:
    """What was wrong, each with what the person concerned had done last."""
    ledger = town.ledger
    for fault in ledger.faults:
        yield f"FAULT: {fault.who}: {fault.what}"
        yield from (f"    {deed}" for deed in fault.deeds)
    if ledger.faults_in_all > len(ledger.faults):
        yield f"... and {ledger.faults_in_all - len(ledger.faults)} more faults"
    if ledger.faults_in_all:
        yield f"seed {seed}: --seed {seed} plans the same again; who wins a race is the machine's to say"
