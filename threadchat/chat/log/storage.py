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
        self.used = 0
        self.unmeasured = 0
        """Bytes added since the last measurement."""
        self.refused = False
        """Whether something was refused since the last measurement."""

    def admit(self, size: int) -> None:
        """Counts `size` bytes that are about to be stored. Raises CommandError 106, temporary."""
        used = self.used + size
        if used > self.begin and size * PORTION > self.most - self.used:
            self.refused = True
            reason = "the storage for messages is full (storage_bytes); try again later"
            raise CommandError(ErrorCode.LIMIT_EXCEEDED, reason, temporary=True)
        self.used = used
        self.unmeasured += size

    def measured(self, used: int) -> None:
        """Replaces the estimate."""
        self.used, self.unmeasured, self.refused = used, 0, False

    @property
    def pressed(self) -> bool:
        """Whether old data has to be dropped."""
        return self.refused or self.used > self.begin
