"""Describes the machine, and finds how many connections it can hold."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

SPARE = 100  # descriptors that a server needs besides its connections


def _first(path: str, label: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(label)), "unknown")


def _commit() -> str:
    """Return the commit that is checked out, marked if files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=Path(__file__).parent)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def describe() -> dict[str, str]:
    """Return the date, processor, cores, memory, kernel, limits, commit and load as text."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _first("/proc/cpuinfo", "model name"),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "connections at most": "{:,} ({})".format(*connections_possible()),
        "commit": _commit(),
        "load before": " ".join(f"{value:.2f}" for value in os.getloadavg()),
    }


def _number(path: str, otherwise: int) -> int:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return otherwise


def descriptor_limit() -> int:
    """Return how many connections the descriptors of one process allow."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (sys.maxsize if soft == resource.RLIM_INFINITY else soft) - SPARE


def connections_possible() -> tuple[int, str]:
    """Return how many connections of two threads each fit on this machine, and what limits them.

    A thread takes one of the kernel's numbers and two maps (its stack, the guard page below it); some are
    left to everybody else. Above 30,000 the run would take too long.
    """
    bounds = {
        "descriptors (ulimit -n)": descriptor_limit(),
        "kernel.pid_max": _number("/proc/sys/kernel/pid_max", 32768) // 2 - 1000,
        "kernel.threads-max": _number("/proc/sys/kernel/threads-max", 32768) // 2 - 1000,
        "vm.max_map_count": _number("/proc/sys/vm/max_map_count", 65530) // 4 - 1000,
        "the benchmark's own patience": 30000,
    }
    reason = min(bounds, key=lambda name: bounds[name])
    return max(bounds[reason], 100), reason
