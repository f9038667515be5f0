"""Reads the resources of a running process from Linux: memory, threads, descriptors, CPU time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

MIB = 1 << 20


class Held(NamedTuple):
    """The resources of a process at one moment: bytes of resident memory, threads, open descriptors."""

    memory: int
    threads: int
    descriptors: int


def held(pid: int) -> Held:
    """All three values. Raises OSError if the process is gone, as all functions here do."""
    return Held(memory(pid), threads(pid), descriptors(pid))


def memory(pid: int) -> int:
    """The resident memory, in bytes."""
    return _status(pid, "VmRSS") * 1024


def peak_memory(pid: int) -> int:
    """The largest resident memory since the start of the process, or since `forget_peak`, in bytes."""
    return _status(pid, "VmHWM") * 1024


def forget_peak(pid: int) -> None:
    """Resets `peak_memory`. The kernel records the peak, so even a short one is noticed."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def threads(pid: int) -> int:
    """The number of threads."""
    return len(os.listdir(f"/proc/{pid}/task"))


def descriptors(pid: int) -> int:
    """The number of open files and sockets."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_seconds(pid: int) -> float:
    """The CPU time used so far, by the process and by the system on its behalf, in seconds."""
    # The name, which is in brackets, may contain blanks and brackets itself.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_running(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def _status(pid: int, key: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))
