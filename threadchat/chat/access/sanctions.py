"""Bans and mutes: of whom, in which room and until when. Looking one up is fast."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from time import time
from typing import Any, Final

import msgspec

from threadchat.chat.access.addresses import length, spellings, within
from threadchat.chat.log.events import UserId
from threadchat.errors import CommandError, ErrorCode
from threadchat.normalize import nfc

BAN: Final = "ban"  # removed, and not let in again
MUTE: Final = "mute"  # may read, but not write
KINDS: Final = (BAN, MUTE)

MOST: Final = 10_000
"""The maximum number of sanctions. Each node has all of them in memory."""
LATEST: Final = 253_402_300_799
"""The last second that a date can express, as Unix time."""

Subject = UserId
"""Whom a sanction is against; see `subject_for`.

Text without the prefix is an address or a network, as `spelled` returns it.
"""
_TEXT_ID: Final = "@"
"""The prefix of the subject for a user whose id is text. No address begins with it."""
Key = tuple[str, Subject, str]
"""Kind, subject and room. There is at most one sanction for each key."""
Share = tuple[str, UserId]
"""`room` and the room's name, or `user` and the id of who imposed it."""


class Sanction(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A ban or a mute in one room, or everywhere if `room` is empty.

    It ends at a Unix time, or never if `until` is None. `room` is compared in NFC, because older servers
    stored it unnormalized.
    """

    kind: str
    subject: Subject
    room: str = ""
    until: int | None = None
    reason: str = ""
    by: UserId | None = None

    @property
    def key(self) -> Key:
        """A new sanction replaces the one with the same key."""
        return self.kind, self.subject, self.room

    def holds(self, now: float) -> bool:
        """Whether the sanction is in force at a Unix time."""
        return self.until is None or now < self.until

    def sentence(self, whom: str = "you are") -> str:
        """Describes the sanction to the person it is against, or with another `whom` to somebody else."""
        what = "banned" if self.kind == BAN else "muted"
        where = f" {'from' if self.kind == BAN else 'in'} room {self.room}" if self.room else ""
        end = "" if self.until is None else f" until {datetime.fromtimestamp(self.until, UTC):%F %T} UTC"
        why = f": {self.reason}" if self.reason else ""
        return f"{whom} {what}{where}{end}{why}"

    def describe(self) -> dict[str, Any]:
        """The entry in a list of sanctions. Empty fields are left out."""
        user = user_of(self.subject)
        subject = {"address": self.subject} if user is None else {"user": user}
        rest = {"room": self.room, "until": self.until, "reason": self.reason, "by": self.by}
        return {"kind": self.kind, **subject, **{name: value for name, value in rest.items() if value}}


def subject_for(user: UserId) -> Subject:
    """The subject of a sanction against a user: an integer id unchanged, a text id with an @ before it."""
    return user if isinstance(user, int) else _TEXT_ID + user


def user_of(subject: Subject) -> UserId | None:
    """The user id that a subject stands for. None for an address or a network."""
    if isinstance(subject, int):
        return subject
    return subject.removeprefix(_TEXT_ID) if subject.startswith(_TEXT_ID) else None


class Sanctions:
    """All sanctions, on this node. Every method may be called from any thread.

    `_changing` guards all changes and is held while a broker writes them to its store. Lookups take no lock:
    they read dicts in single steps, and the values are replaced, never changed. `version` grows after each
    change.
    """

    def __init__(self, most: int = MOST, *, clock: Callable[[], float] = time) -> None:
        """`clock` returns Unix time in seconds."""
        self.clock = clock
        self.version = 0
        self.by_subject: dict[Subject, tuple[Sanction, ...]] = {}
        """The sanctions by subject. If it is empty, there is nothing to look up."""
        self._most = most
        self._count = 0
        self._shares: Counter[Share] = Counter()  # of the sanctions in one room only
        self._lengths: Counter[tuple[int, int]] = Counter()
        self._known_lengths: tuple[tuple[int, int], ...] = ()  # of networks, for looking up an address
        self._changing = threading.Lock()
        self._carry_out: Callable[[Sanction], object] = lambda sanction: None

    def connect(self, carry_out: Callable[[Sanction], object]) -> None:
        """Sets what is called after each sanction that is new on this node. It may block."""
        self._carry_out = carry_out

    def leave_behind(self) -> None:
        """Resets everything in a forked process. Runs on: its only thread, first."""
        self._changing = threading.Lock()

    # Changes

    def impose(self, sanction: Sanction) -> None:
        """Puts a sanction in force. Replaces one of the same kind, subject and room.

        Nobody has more of those in rooms than are left for all others, and neither has a room. Raises
        CommandError 106 if there are too many, and 100 if it cannot be stored.
        """
        with self._changing:
            self._check_room_locked(sanction)
            self._keep_locked(sanction)
            self._put_locked(sanction)
        self._carry_out(sanction)

    def lift(self, kind: str, subject: Subject, room: str = "") -> bool:
        """Removes a sanction. Returns whether there was one in force.

        Raises CommandError 100 if the change cannot be stored.
        """
        with self._changing:
            found = self._exact(kind, subject, room)
            if found is not None:
                self._erase_locked(found)
                self._drop_locked(found)
        return found is not None and found.holds(self.clock())

    # Lookups

    def find(self, kind: str, subject: Subject, room: str = "") -> Sanction | None:
        """The sanction in force against a subject in a room, be it for that room or for everywhere."""
        if not self.by_subject:
            return None
        return in_force(self._of(subject), kind, room, self.clock())

    def concerning(self, user: UserId | None, address: str) -> tuple[Sanction, ...]:
        """All sanctions against a user or an address, of any kind and in any room. Some may have expired."""
        if not self.by_subject:
            return ()
        found = list(self._of(address)) if address else []
        if user is not None:
            found += self.by_subject.get(subject_for(user), ())
        return tuple(found)

    def list(self, room: str | None = None) -> list[Sanction]:
        """The sanctions in force: all, those in one room, or (`room` empty) those that hold everywhere."""
        now = self.clock()
        with self._changing:
            found = [sanction for some in self.by_subject.values() for sanction in some]
        return [item for item in found if item.holds(now) and (room is None or nfc(item.room) == room)]

    def covers(self, sanction: Sanction, user: UserId | None, address: str) -> bool:
        """Whether the sanction is against that user or address."""
        if user_of(sanction.subject) is None:
            return within(address, str(sanction.subject))
        return user is not None and subject_for(user) == sanction.subject

    def await_loaded(self) -> None:
        """Waits a moment until all sanctions are known here. Raises CommandError 100 if they are not."""

    # For brokers that store sanctions

    def _keep_locked(self, sanction: Sanction) -> None:
        """Stores a sanction. Raises CommandError."""

    def _erase_locked(self, sanction: Sanction) -> None:
        """Removes a sanction from the store. Raises CommandError."""

    # Helpers

    def _of(self, subject: Subject) -> Iterator[Sanction]:
        alone = user_of(subject) is not None
        names = (subject,) if alone else spellings(str(subject), self._known_lengths)
        for name in names:
            yield from self.by_subject.get(name, ())

    def _exact(self, kind: str, subject: Subject, room: str) -> Sanction | None:
        return next(
            (one for one in self.by_subject.get(subject, ()) if (one.kind, nfc(one.room)) == (kind, room)),
            None,
        )

    def _check_room_locked(self, sanction: Sanction) -> None:
        if self._has_room_locked(sanction) or self._exact(*sanction.key):
            return
        self._purge_locked()
        if not self._has_room_locked(sanction):
            reason = f"there are {self._most} bans and mutes already"
            if self._count < self._most:  # only the others may have more
                most = f"of the {self._most} bans and mutes that there may be"
                reason = f"room {sanction.room}, or you, have as many {most} as are left for all others"
            raise CommandError(ErrorCode.LIMIT_EXCEEDED, f"{reason}; lift some, or let them expire")

    def _has_room_locked(self, sanction: Sanction) -> bool:
        taken = max((self._shares[share] for share in _shares_of(sanction)), default=0)
        return self._count + taken < self._most

    def _purge_locked(self) -> None:
        now = self.clock()
        for gone in [item for some in self.by_subject.values() for item in some if not item.holds(now)]:
            self._drop_locked(gone)  # a store drops expired sanctions by itself

    def _put_locked(self, sanction: Sanction) -> None:
        former = self._exact(*sanction.key)
        others = tuple(item for item in self.by_subject.get(sanction.subject, ()) if item is not former)
        self.by_subject[sanction.subject] = (*others, sanction)
        if former is not None:
            self._shares.subtract(_shares_of(former))
        self._shares.update(_shares_of(sanction))
        if former is None:
            self._count += 1
            self._note_length_locked(sanction, 1)
        self.version += 1  # last: a reader that sees it also sees the change

    def _drop_locked(self, sanction: Sanction) -> None:
        others = tuple(item for item in self.by_subject[sanction.subject] if item.key != sanction.key)
        for share in _shares_of(sanction):
            self._shares[share] -= 1
            if self._shares[share] <= 0:
                del self._shares[share]
        if others:
            self.by_subject[sanction.subject] = others
        else:
            del self.by_subject[sanction.subject]
        self._count -= 1
        self._note_length_locked(sanction, -1)
        self.version += 1

    def _note_length_locked(self, sanction: Sanction, by: int) -> None:
        if user_of(sanction.subject) is None:
            self._lengths[length(str(sanction.subject))] += by
            self._known_lengths = tuple((+self._lengths).keys())


def _shares_of(sanction: Sanction) -> list[Share]:
    """Whose share a sanction takes: its room's and its moderator's, if it is in one room only."""
    if not sanction.room:
        return []
    return [("room", sanction.room)] + ([] if sanction.by is None else [("user", sanction.by)])


def in_force(sanctions: Iterable[Sanction], kind: str, room: str, now: float) -> Sanction | None:
    """The first of these sanctions that is in force in a room now."""
    for item in sanctions:
        if item.kind == kind and (not item.room or nfc(item.room) == room) and item.holds(now):
            return item
    return None
