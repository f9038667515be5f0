"""Admits what is published into a broker's storage while there is room, and refuses the rest."""

from __future__ import annotations

from typing import Final

from threadchat.errors import CommandError, ErrorCode

STORAGE_BYTES: Final = 1 << 30
"""The default limit of bytes that a persistent broker stores."""
BEGIN: Final = 7 / 8
"""The share of the limit above which old data is dropped."""
AIM: Final = 13 / 16
"""The share of the limit at which dropping ends."""
STEP: Final = 1 / 64
"""The share of the limit that may be stored between two measurements."""
PORTION: Final = 16
"""Above `BEGIN`, one publication may take this part of what is left. So a flood is refused long before the
small messages of others are, and the limit is never exceeded.
"""


class StorageBudget:
    """How much a broker stores, and whether more fits. Every method may be called from any thread.

    Between two calls of `measured`, `used` is an estimate: threads that publish at the same time may lose
    each other's additions, which the next measurement puts right.
    """

    def __init__(self, most: int) -> None:
        """`most` is the limit in bytes."""
        self.most = most
        self.begin = int(most * BEGIN)
        self.aim = int(most * AIM)
        self.used = self._before = self._look_at = 0
        self.refused = False
        """Whether something was refused since the last measurement."""
        self.due = False
        """Whether the next measurement has to come soon."""
        self.measured(0)

    def admit(self, size: int) -> None:
        """Counts `size` bytes that are about to be stored. Raises CommandError 106, temporary."""
        used = self.used + size
        if used > self._look_at:
            self._look(used, size)
        self.used = used

    def measured(self, used: int) -> None:
        """Replaces the estimate."""
        self.used = self._before = used
        self._look_at = min(self.begin, used + int(self.most * STEP))
        self.refused = False
        self.due = used > self.begin

    @property
    def unmeasured(self) -> int:
        """Bytes that were added since the last measurement."""
        return self.used - self._before

    @property
    def pressed(self) -> bool:
        """Whether old data has to be dropped."""
        return self.refused or self.used > self.begin

    def _look(self, used: int, size: int) -> None:
        self.due = True
        if used > self.begin and size * PORTION > self.most - self.used:
            self.refused = True
            reason = "the storage for messages is full (storage_bytes); try again later"
            raise CommandError(ErrorCode.LIMIT_EXCEEDED, reason, temporary=True)
