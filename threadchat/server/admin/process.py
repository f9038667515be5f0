"""What the operating system says about this process."""

from __future__ import annotations

import contextlib
import os


def resident_bytes() -> int | None:
    """The memory of this process that is in RAM; None where there is no `/proc`."""
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None


def descriptors() -> tuple[int, int] | None:
    """Open files and sockets of this process, and how many it may have; None where this is unknown."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return len(os.listdir("/proc/self/fd")), 0 if limit == resource.RLIM_INFINITY else limit
    return None
