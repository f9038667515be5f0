"""What a token lets somebody do in which rooms, and which permission each command needs."""

from __future__ import annotations

from typing import Any, Final, Literal

from threadchat.errors import BadToken
from threadchat.normalize import nfc
from threadchat.server.protocol import commands

Action = Literal["join", "subscribe", "message", "history", "who", "direct", "call"]
"""What the hook `authorize` is asked about."""

AnyAction = Action | Literal["typing", "moderate"]
"""What permissions are asked about."""

READ: Final = "r"
WRITE: Final = "w"
MODERATE: Final = "m"

NEEDS: Final[dict[str, str]] = {
    "join": READ,
    "subscribe": READ,
    "history": READ,
    "who": READ,
    "message": WRITE,
    "typing": WRITE,
}
"""The letter that each needs; `direct` is about a person and `call` about a command of the application's, so
no room's permission counts for these."""

ACTIONS: Final[dict[type[commands.Command], AnyAction]] = {
    commands.Join: "join",
    commands.Subscribe: "subscribe",
    commands.Count: "history",
    commands.History: "history",
    commands.Who: "who",
    commands.Typing: "typing",
    commands.SendDirect: "direct",
    commands.Call: "call",
}
"""What a command does, where somebody may be forbidden to; messages are looked at one by one, later."""

PHRASES: Final[dict[str, str]] = {
    "join": "join room",
    "subscribe": "subscribe to room",
    "message": "write in room",
    "history": "read the history of room",
    "who": "see who is in room",
    "typing": "write in room",
    "direct": "write to user",
    "call": "call",
    "moderate": "moderate room",
}


class Permissions:
    """What a token's `rooms` allow: letters by the names of rooms, where a name may end in `*`.

    The most specific name decides alone: the whole one, else the longest that ends in `*`. A room that none
    names is closed. Immutable; to be used on any thread.
    """

    __slots__ = ("_exact", "_prefixes")

    def __init__(self, letters: dict[str, str]) -> None:
        """Raises BadToken for letters that there are not."""
        for name, given in letters.items():
            if unknown := set(given) - {READ, WRITE, MODERATE}:
                wrong = f"{sorted(unknown)[0]!r:.20} of {name!r:.60}"
                raise BadToken(f"its rooms have the letter {wrong}, which is none of r, w and m")
        named = [(nfc(name), frozenset(given)) for name, given in letters.items()]
        self._exact = {name: given for name, given in named if not name.endswith("*")}
        prefixes = ((name[:-1], given) for name, given in named if name.endswith("*"))
        self._prefixes = sorted(prefixes, key=lambda item: len(item[0]), reverse=True)

    @classmethod
    def of(cls, claim: Any) -> Permissions | None:
        """What a claim `rooms` says: a list of names to read and write, or letters by name; None without one.

        Raises BadToken.
        """
        if claim is None:
            return None
        if isinstance(claim, list):
            claim = {name: READ + WRITE for name in claim if isinstance(name, str)} if _texts(claim) else None
        if not isinstance(claim, dict) or not _texts(claim.values()):
            raise BadToken('its rooms are neither a list of names nor letters by name, as {"lobby": "rw"}')
        return cls(claim)

    def allow(self, letter: str, room: str) -> bool:
        """Whether `letter` is among those for `room`."""
        exact = self._exact.get(room)
        if exact is not None:
            return letter in exact
        return next((letter in given for prefix, given in self._prefixes if room.startswith(prefix)), False)


def _texts(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)
