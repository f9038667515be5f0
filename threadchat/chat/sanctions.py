"""Bans and mutes: against whom, where, until when; and quick answers to whether one holds."""

from __future__ import annotations

import ipaddress
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from time import time
from typing import Any, Final

import msgspec

from threadchat.chat.log.events import UserId
from threadchat.errors import CommandError, ErrorCode
from threadchat.normalize import nfc

BAN: Final = "ban"  # out, and not let in again
MUTE: Final = "mute"  # may listen, but not speak
KINDS: Final = (BAN, MUTE)

MOST: Final = 10_000
"""Sanctions at a time; each node has all of them in its memory."""
LATEST: Final = 253_402_300_799
"""The last second that a date can name, in Unix time."""

_ZONE: Final = re.compile("%[^/]*")  # which of this machine's links IPv6 means; says nothing of who it is

Subject = UserId
"""Whom it is against, see `subject_for`; other text is an address or a network in its one spelling."""
_TEXT_ID: Final = "@"
"""Begins the subject that stands for a user whose id is text; no address has it."""
Key = tuple[str, Subject, str]
"""Kind, subject and room: there is at most one sanction of each."""


class Sanction(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A ban or a mute, in one room or everywhere (`room` empty), until a Unix time or for good (None).

    `room` is compared in NFC: an older server kept it as it came.
    """

    kind: str
    subject: Subject
    room: str = ""
    until: int | None = None
    reason: str = ""
    by: UserId | None = None

    @property
    def key(self) -> Key:
        """What a later one of the same replaces it by."""
        return self.kind, self.subject, self.room

    def holds(self, now: float) -> bool:
        """Whether it is in force at a Unix time."""
        return self.until is None or now < self.until

    def sentence(self, whom: str = "you are") -> str:
        """What the one whom it concerns is told, or another one."""
        what = "banned" if self.kind == BAN else "muted"
        where = f" {'from' if self.kind == BAN else 'in'} room {self.room}" if self.room else ""
        end = "" if self.until is None else f" until {datetime.fromtimestamp(self.until, UTC):%F %T} UTC"
        why = f": {self.reason}" if self.reason else ""
        return f"{whom} {what}{where}{end}{why}"

    def describe(self) -> dict[str, Any]:
        """What a list of sanctions shows; what does not apply is left out."""
        user = user_of(self.subject)
        subject = {"address": self.subject} if user is None else {"user": user}
        rest = {"room": self.room, "until": self.until, "reason": self.reason, "by": self.by}
        return {"kind": self.kind, **subject, **{name: value for name, value in rest.items() if value}}


def subject_for(user: UserId) -> Subject:
    """The subject of a sanction against a user: an integer as it is, text with an @ before it."""
    return user if isinstance(user, int) else _TEXT_ID + user


def user_of(subject: Subject) -> UserId | None:
    """The user whom a subject stands for; None for an address or a network."""
    if isinstance(subject, int):
        return subject
    return subject.removeprefix(_TEXT_ID) if subject.startswith(_TEXT_ID) else None


def spelled(address: str) -> str:
    """The one spelling of an address or a network: `192.0.2.7/24` is `192.0.2.0/24`, `::ffff:192.0.2.7` is
    `192.0.2.7`, and `fe80::1%eth0` is `fe80::1`. Raises CommandError 107 for what is neither.
    """
    try:
        network = ipaddress.ip_network(_ZONE.sub("", address.strip()), strict=False)
    except ValueError:
        reason = f"address is {address!r:.60}; it is one such as 192.0.2.7, or a network such as 192.0.2.0/24"
        raise CommandError(ErrorCode.BAD_REQUEST, reason) from None
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        network = ipaddress.ip_network((mapped, network.prefixlen - 96))
    return _spell(network)


def neighbourhood(address: str) -> str:
    """What to ban somebody by who has that address: it, or the /64 of IPv6, where one host has all of it."""
    alone = spelled(address)
    return spelled(f"{alone}/64") if ":" in alone and "/" not in alone else alone


def within(address: str, network: str) -> bool:
    """Whether an address is in a network, or the same as an address; both may be empty, or none at all."""
    return network in _spellings(address, (_length(network),))


def _spell(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    alone = network.prefixlen == network.max_prefixlen
    return str(network.network_address if alone else network)


def _length(address: str) -> tuple[int, int]:
    """IP version and prefix length of a spelled address or network."""
    network = ipaddress.ip_network(address)
    return network.version, network.prefixlen


class Sanctions:
    """All that hold, on this node. Every method may be called from any thread.

    `_changing` guards all changes and is held while a lasting store is written; `_put_locked` and its like
    need it. Whoever looks something up takes no lock: dicts are looked into with single steps, whose values
    are replaced, never changed. `version` grows behind each change.
    """

    def __init__(self, most: int = MOST, *, clock: Callable[[], float] = time) -> None:
        """`clock` gives Unix time, in seconds."""
        self.clock = clock
        self.version = 0
        self.held: dict[Subject, tuple[Sanction, ...]] = {}
        """By subject; for whoever wants to know cheaply that there is nothing."""
        self._most = most
        self._count = 0
        self._lengths: Counter[tuple[int, int]] = Counter()
        self._known_lengths: tuple[tuple[int, int], ...] = ()  # of networks: what an address is looked up by
        self._changing = threading.Lock()
        self._carry_out: Callable[[Sanction], object] = lambda sanction: None

    def connect(self, carry_out: Callable[[Sanction], object]) -> None:
        """Has that called after each sanction that is new on this node; it may wait."""
        self._carry_out = carry_out

    def leave_behind(self) -> None:
        """Begins anew in a forked process, whose parent has the rest. Runs on: its only thread, first."""
        self._changing = threading.Lock()

    # Changes

    def impose(self, sanction: Sanction) -> None:
        """Puts a sanction in force, in the place of one of the same kind, subject and room.

        Raises CommandError 106 where there are too many, 100 where it cannot be kept.
        """
        with self._changing:
            self._check_room_locked(sanction)
            self._keep_locked(sanction)
            self._put_locked(sanction)
        self._carry_out(sanction)

    def lift(self, kind: str, subject: Subject, room: str = "") -> bool:
        """Takes one back; whether there was one. Raises CommandError 100 where that cannot be kept."""
        with self._changing:
            found = self._exact(kind, subject, room)
            if found is not None:
                self._erase_locked(found)
                self._drop_locked(found)
        return found is not None and found.holds(self.clock())

    # Looking

    def find(self, kind: str, subject: Subject, room: str = "") -> Sanction | None:
        """What holds against a subject in a room: the room's own, or one that is everywhere."""
        if not self.held:
            return None
        return in_force(self._of(subject), kind, room, self.clock())

    def concerning(self, user: UserId | None, address: str) -> tuple[Sanction, ...]:
        """All that there are against a user or an address, of any kind and room; some may be over."""
        if not self.held:
            return ()
        found = list(self._of(address)) if address else []
        if user is not None:
            found += self.held.get(subject_for(user), ())
        return tuple(found)

    def list(self, room: str | None = None) -> list[Sanction]:
        """Those in force: all, a room's own, or (room empty) those that hold everywhere."""
        now = self.clock()
        with self._changing:
            found = [sanction for some in self.held.values() for sanction in some]
        return [item for item in found if item.holds(now) and (room is None or nfc(item.room) == room)]

    def covers(self, sanction: Sanction, user: UserId | None, address: str) -> bool:
        """Whether it is against that user or address."""
        if user_of(sanction.subject) is None:
            return within(address, str(sanction.subject))
        return user is not None and subject_for(user) == sanction.subject

    # For lasting ones

    def _keep_locked(self, sanction: Sanction) -> None:
        """Writes it where it lasts. Raises CommandError."""

    def _erase_locked(self, sanction: Sanction) -> None:
        """Takes it from where it lasts. Raises CommandError."""

    # Helpers

    def _of(self, subject: Subject) -> Iterator[Sanction]:
        alone = user_of(subject) is not None
        names = (subject,) if alone else _spellings(str(subject), self._known_lengths)
        for name in names:
            yield from self.held.get(name, ())

    def _exact(self, kind: str, subject: Subject, room: str) -> Sanction | None:
        return next(
            (one for one in self.held.get(subject, ()) if (one.kind, nfc(one.room)) == (kind, room)), None
        )

    def _check_room_locked(self, sanction: Sanction) -> None:
        if self._count < self._most or self._exact(*sanction.key):
            return
        self._purge_locked()
        if self._count >= self._most:
            reason = f"there are {self._most} bans and mutes already; lift some, or give them an end"
            raise CommandError(ErrorCode.LIMIT_EXCEEDED, reason)

    def _purge_locked(self) -> None:
        now = self.clock()
        for gone in [item for some in self.held.values() for item in some if not item.holds(now)]:
            self._drop_locked(gone)  # where they last, what is over goes by itself

    def _put_locked(self, sanction: Sanction) -> None:
        former = self._exact(*sanction.key)
        others = tuple(item for item in self.held.get(sanction.subject, ()) if item is not former)
        self.held[sanction.subject] = (*others, sanction)
        if former is None:
            self._count += 1
            self._note_length_locked(sanction, 1)
        self.version += 1  # last: whoever sees it sees the rest

    def _drop_locked(self, sanction: Sanction) -> None:
        others = tuple(item for item in self.held[sanction.subject] if item.key != sanction.key)
        if others:
            self.held[sanction.subject] = others
        else:
            del self.held[sanction.subject]
        self._count -= 1
        self._note_length_locked(sanction, -1)
        self.version += 1

    def _note_length_locked(self, sanction: Sanction, by: int) -> None:
        if user_of(sanction.subject) is None:
            self._lengths[_length(str(sanction.subject))] += by
            self._known_lengths = tuple((+self._lengths).keys())


def in_force(sanctions: Iterable[Sanction], kind: str, room: str, now: float) -> Sanction | None:
    """The first of these that holds in a room now."""
    for item in sanctions:
        if item.kind == kind and (not item.room or nfc(item.room) == room) and item.holds(now):
            return item
    return None


def _spellings(address: str, lengths: Iterable[tuple[int, int]]) -> Iterator[str]:
    """The address and the networks of these lengths that it is in; nothing for what is no address."""
    try:
        alone = ipaddress.ip_network(spelled(address))
    except CommandError:  # of a unix socket, say
        return
    for version, length in lengths:
        if version == alone.version and length <= alone.prefixlen:
            yield _spell(alone.supernet(new_prefix=length))
