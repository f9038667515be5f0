"""The permissions for rooms that a token grants, and the permission that each command needs."""

from __future__ import annotations

from typing import Any, Final, Literal

from threadchat.errors import BadToken
from threadchat.normalize import nfc
from threadchat.server.protocol import commands

Action = Literal["join", "subscribe", "message", "history", "who", "direct", "call"]
"""The actions that the hook `authorize` decides about."""

AnyAction = Action | Literal["typing", "read", "moderate"]
"""The actions that permissions decide about."""

READ: Final = "r"
WRITE: Final = "w"
MODERATE: Final = "m"
DIRECT: Final = "d"
CALL: Final = "c"
EVERYWHERE: Final = "*"
"""The only name under which `d` and `c` may be granted, because they concern no room."""

NEEDS: Final[dict[str, str]] = {
    "join": READ,
    "subscribe": READ,
    "history": READ,
    "who": READ,
    "read": READ,
    "message": WRITE,
    "typing": WRITE,
    "direct": DIRECT,
    "call": CALL,
}
"""The letter that each action needs."""

ACTIONS: Final[dict[type[commands.Command], AnyAction]] = {
    commands.Join: "join",
    commands.Subscribe: "subscribe",
    commands.Count: "history",
    commands.History: "history",
    commands.Who: "who",
    commands.Typing: "typing",
    commands.Edit: "message",
    commands.Read: "read",
    commands.React: "message",
    commands.Unreact: "message",
    commands.SendDirect: "direct",
    commands.TypingTo: "direct",
    commands.Call: "call",
}
"""The action of each command that can be forbidden. New messages are checked later, one at a time."""

PHRASES: Final[dict[str, str]] = {
    "join": "join room",
    "subscribe": "subscribe to room",
    "message": "write in room",
    "history": "read the history of room",
    "who": "see who is in room",
    "typing": "write in room",
    "read": "read room",
    "direct": "write to user",
    "call": "call",
    "moderate": "moderate room",
}


class Permissions:
    """The permissions in a token's `rooms`: letters by room name, where a name may end in `*`.

    Only the most specific name counts: the exact one, else the longest prefix with `*`. A room without a
    matching name is closed. `direct` and `call` concern no room, so only the name `*` may grant them; what it
    does not grant is closed. Immutable, so every method may be called from any thread.
    """

    __slots__ = ("_exact", "_prefixes", "_roomless")

    def __init__(self, letters: dict[str, str]) -> None:
        """Raises BadToken for unknown letters, and for `d` and `c` under another name than `*`."""
        for name, given in letters.items():
            if unknown := set(given) - {READ, WRITE, MODERATE, DIRECT, CALL}:
                wrong = f"{sorted(unknown)[0]!r:.20} of {name!r:.60}"
                raise BadToken(f"its rooms have the letter {wrong}; the letters are r, w, m, d and c")
            if name != EVERYWHERE and (misplaced := set(given) & {DIRECT, CALL}):
                wrong = f"{sorted(misplaced)[0]!r} of {name!r:.60}"
                raise BadToken(f"its rooms have the letter {wrong}; only * may have d and c")
        self._roomless = frozenset(letters.get(EVERYWHERE, "")) & {DIRECT, CALL}
        named = [(nfc(name), frozenset(given)) for name, given in letters.items()]
        self._exact = {name: given for name, given in named if not name.endswith("*")}
        prefixes = ((name[:-1], given) for name, given in named if name.endswith("*"))
        self._prefixes = sorted(prefixes, key=lambda item: len(item[0]), reverse=True)

    @classmethod
    def of(cls, claim: Any) -> Permissions | None:
        """Reads the claim `rooms`: a list of names to read and write, or letters by name. None without one.

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
        """Whether `room` is granted `letter`. For `d` and `c` the room does not count."""
        if letter in (DIRECT, CALL):
            return letter in self._roomless
        exact = self._exact.get(room)
        if exact is not None:
            return letter in exact
        return next((letter in given for prefix, given in self._prefixes if room.startswith(prefix)), False)


def _texts(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)
