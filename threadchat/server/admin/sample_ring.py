"""Keeps encoded samples of the last hour in a fixed amount of memory."""

from __future__ import annotations

from collections import deque
from typing import Final

AGE: Final = 3600.0
"""Seconds for which samples are kept."""
SIZE: Final = 512 * 1024
"""Bytes of all samples together: an hour of a node alone takes a quarter of it."""


class SampleRing:
    """Samples in the order of their times. It has no lock: its owner calls it while holding one.

    If the samples take more than `size` bytes, every second one is dropped, so that a large cluster also sees
    its last hour, with fewer points.
    """

    def __init__(self, age: float = AGE, size: int = SIZE) -> None:
        self._age = age
        self._size = size
        self._bytes = 0
        self._samples: deque[tuple[float, bytes]] = deque()

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, at: float, sample: bytes) -> None:
        """Adds a sample of the time `at`, in seconds; drops those that are too old or too many."""
        self._samples.append((at, sample))
        self._bytes += len(sample)
        while self._samples[0][0] < at - self._age:
            self._bytes -= len(self._samples.popleft()[1])
        while self._bytes > self._size and len(self._samples) > 1:
            newest = len(self._samples) - 1
            self._samples = deque([it for n, it in enumerate(self._samples) if (newest - n) % 2 == 0])
            self._bytes = sum(len(kept) for _, kept in self._samples)

    def read(self) -> list[bytes]:
        """The samples, the oldest first."""
        return [sample for _, sample in self._samples]
