"""The list of all abuses."""

from __future__ import annotations

from abusing import (
    broken_frames,
    budgets,
    departures,
    doors,
    handshakes,
    identities,
    limits,
    readers,
    shortage,
    speech,
    storage,
)
from abusing.abuse import Abuse

ABUSES: tuple[Abuse, ...] = (
    *handshakes.ALL,
    *broken_frames.ALL,
    *speech.ALL,
    *departures.ALL,
    *readers.ALL,
    *shortage.ALL,
    *limits.ALL,
    *budgets.ALL,
    *doors.ALL,
    *storage.ALL,
    *identities.ALL,
)
