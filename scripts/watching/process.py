"""What Linux tells of a running process: memory, threads, descriptors, processor time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

MIB = 1 << 20


class Held(NamedTuple):
    """What a process holds at one moment: bytes of resident memory, threads, open descriptors."""

    memory: int
    threads: int
    descriptors: int


def held(pid: int) -> Held:
    """All three at once. Raises OSError where the process is gone, as everything here does."""
    return Held(memory(pid), threads(pid), descriptors(pid))


def memory(pid: int) -> int:
    """Bytes of resident memory now."""
    return _status(pid, "VmRSS") * 1024


def peak_memory(pid: int) -> int:
    """The most bytes of resident memory since the process began, or since `forget_peak`."""
    return _status(pid, "VmHWM") * 1024


def forget_peak(pid: int) -> None:
    """From here on `peak_memory` counts anew; the kernel keeps the mark, so no peak is too short for it."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def threads(pid: int) -> int:
    """How many threads there are now."""
    return len(os.listdir(f"/proc/{pid}/task"))


def descriptors(pid: int) -> int:
    """How many files and sockets are open now."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_seconds(pid: int) -> float:
    """Processor time used so far, by the process itself and by the system for it."""
    # The name, which stands in brackets, may hold blanks and brackets itself.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_running(pid: int) -> bool:
    """Whether the process is there and not a corpse that nobody has waited for."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def _status(pid: int, key: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))
