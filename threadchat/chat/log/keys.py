"""Message keys. The keys of clients and the keys of the application never collide."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Final, NamedTuple

from threadchat.chat.log.events import Position, UserId
from threadchat.errors import CommandError, ErrorCode

_CLIENT: Final = "\0"
"""The prefix of clients' keys, so that a client cannot use up a key that the application will need for its
user.
"""


class Known(NamedTuple):
    """What is known of a message key: its message's position, when to forget it, and whose it is."""

    position: Position
    until: float
    owner: UserId | None


Keys = OrderedDict[tuple[UserId | None, str], Known]
"""Message keys, each with its user. The oldest comes first."""


def client_key(key: str) -> str:
    """A client's key as it is stored in a draft. Empty means no key."""
    return key and _CLIENT + key


def application_key(key: str) -> str:
    """Returns the application's key unchanged.

    Raises CommandError 107 if it has the prefix of clients' keys.
    """
    if key.startswith(_CLIENT):
        raise CommandError(ErrorCode.BAD_REQUEST, f"key is {key!r:.60}; it must not begin with a NUL")
    return key


def forget_some(keys: Keys, total: int) -> None:
    """Forgets at least `total` keys, the oldest ones of those who have the most."""
    excess = _largest_parts(Counter(known.owner for known in keys.values()), total)
    for name, known in list(keys.items()):
        if excess[known.owner] > 0:
            excess[known.owner] -= 1
            del keys[name]


def _largest_parts(counts: Counter[UserId | None], total: int) -> Counter[UserId | None]:
    """How much to take from each of `counts` so that it is at least `total`, and the largest become equal."""
    ordered = counts.most_common()
    taken = 0
    for number, (_, count) in enumerate(ordered, 1):
        taken += count
        least = ordered[number][1] if number < len(ordered) else 0
        if taken - number * least >= total:
            level = (taken - total) // number
            return Counter({owner: has - level for owner, has in ordered[:number]})
    return counts
