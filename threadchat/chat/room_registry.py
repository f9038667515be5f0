"""The rooms of one node by name: created when first used, forgotten after being empty for a while."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Final

from threadchat.callbacks import check_callback
from threadchat.chat.delivery.listener import Listener, ListenerThread
from threadchat.chat.delivery.stream import SharedStream, events_of
from threadchat.chat.log.events import Event, is_inbox
from threadchat.chat.room import Room
from threadchat.chat.room_shares import NOBODY, Opener, Openers, RoomShares
from threadchat.errors import CommandError, ErrorCode, RoomClosed

PROBES: Final = 32
"""The number of rooms that are tried when one has to make place for another: one caller must not pay for a
full search.
"""

Schedule = Callable[[float, Callable[[], None]], object]
"""Calls a function after so many seconds, on a thread that must not be blocked: the pinger's `call_later`."""


class Slot:
    """A place among the permitted number of rooms, with a timer.

    When a room is forgotten, the next one takes over the slot. So there are never more timers than slots,
    however fast rooms come and go.
    """

    __slots__ = ("armed", "room")

    def __init__(self) -> None:
        self.room: Room | None = None
        self.armed = False  # whether the timer runs


class RoomRegistry:
    """Every method may be called from any thread.

    `_lock` guards everything that changes here, slots included. It is not held while a room is created or
    queried, because a broker may have to ask other nodes for that.
    """

    def __init__(
        self,
        make: Callable[[str], Room],
        schedule: Schedule | None,
        room_ttl: float,
        inbox_ttl: float | None = None,
        *,
        most: int = 0,
        always: Collection[str] = (),
    ) -> None:
        """`make` creates a room. Without `schedule`, no room is forgotten because of its age.

        `inbox_ttl` is for inboxes. At most `most` rooms are open at once (0: any number), not counting those
        named in `always`.
        """
        self._make = make
        self._schedule = schedule
        self._room_ttl = room_ttl
        self._inbox_ttl = room_ttl if inbox_ttl is None else inbox_ttl
        self._most = most
        self._always = frozenset(always)
        self._lock = threading.Lock()
        self._opened = threading.Condition(self._lock)
        self._rooms: dict[str, Room] = {}  # also read without the lock
        self._slots: OrderedDict[str, Slot] = OrderedDict()  # by name; the next to try comes first
        self._opening: set[str] = set()
        self._shares = RoomShares()
        self._listeners: list[ListenerThread] = []
        self.opened: Callable[[], object] = int  # called after a room was created
        self._closed = False

    def __len__(self) -> int:
        return len(self._rooms)

    def get(self, name: str) -> Room | None:
        """The room of that name if it is open on this node, otherwise None."""
        room = self._rooms.get(name)
        return None if room is None or room.closed else room

    def open(self, name: str, openers: Openers = NOBODY) -> Room:
        """Returns the room of that name, a new one if needed. Raises RoomClosed after `close`.

        `openers` are those for whom it counts, if it is a new one. If a limit is reached, an empty room is
        forgotten, so that empty rooms do not lock anybody out: one of the opener who has too many. Nobody may
        have more rooms than are left for all others. Raises CommandError 106, temporary, if no empty room was
        found.
        """
        room = self.get(name)
        if room is not None:
            return room
        with self._opened:
            self._opened.wait_for(lambda: name not in self._opening)
            room = self.get(name)
            if room is not None:
                return room
            if self._closed:
                raise RoomClosed("the hub is closed")
            self._opening.add(name)
            full = None if self._is_spared_locked(name) else self._shares.full(openers)
            crowded = self._is_crowded_locked(name, openers)
            self._shares.add(name, openers)
        return self._open(name, crowded, full)

    def all(self) -> list[Room]:
        """The rooms that are open."""
        with self._lock:
            return [room for room in self._rooms.values() if not room.closed]

    def attach(self, listener: Listener | Callable[[Event], object], stream: SharedStream) -> None:
        """Calls `listener` for every event of every room. Raises ConfigError and RoomClosed."""
        check_callback("listener", listener, ("event",))
        thread = ListenerThread(listener, stream, "hub")
        with self._lock:
            if self._closed:
                raise RoomClosed("the hub is closed")
            thread.start()  # under the lock, because `close` joins the threads of all listeners
            self._listeners.append(thread)
            rooms = list(self._rooms.values())
        for room in rooms:
            _listen(room, thread)

    def by_opener(self) -> list[list[Room]]:
        """The rooms of each person or address that created rooms. A room may be there more than once."""
        with self._lock:
            found = [[self._rooms.get(name) for name in names] for names in self._shares.by_opener()]
        return [[room for room in rooms if room is not None] for rooms in found]

    def has_subscribers(self) -> bool:
        """Whether anybody is subscribed to a room, or listens to all rooms."""
        return bool(self._listeners) or any(not room.idle_for() for room in self.all())

    def close(self) -> tuple[list[Room], list[ListenerThread]]:
        """Creates no more rooms. Returns the rooms, and the listeners to all of them."""
        with self._lock:
            self._closed = True
            return list(self._rooms.values()), list(self._listeners)

    def leave_behind(self) -> None:
        """Starts from scratch in a forked process; the parent keeps the rest.

        Runs on: its only thread, before anything else.
        """
        self._lock = threading.Lock()
        self._opened = threading.Condition(self._lock)
        for room in self._rooms.values():
            room.leave_behind()
        self._rooms, self._slots = {}, OrderedDict()
        self._opening, self._listeners, self._shares = set(), [], RoomShares()

    # Helpers

    def _is_spared_locked(self, name: str) -> bool:
        """Whether a room of that name needs no place of its own."""
        return name in self._slots or name in self._always

    def _is_crowded_locked(self, name: str, openers: Openers) -> bool:
        """Whether a new room of that name, which is being opened, exceeds the limit.

        It also does if somebody for whom it counts would then have more rooms than are left.
        """
        if not self._most or self._is_spared_locked(name):
            return False
        coming = sum(other not in self._slots for other in self._opening)
        apart = sum(other in self._slots or other in self._opening for other in self._always)
        return len(self._slots) + coming - apart + self._shares.largest(openers) > self._most

    def _open(self, name: str, crowded: bool, full: Opener | None) -> Room:
        """Creates the room of that name. Others that want the same room wait."""
        room = None
        try:
            # If a closed room of that name is still registered, the new room takes over its slot.
            place = self._make_place(full) if crowded or full else None
            slot = place or self._slots.get(name) or Slot()
            room = self._make(name)
        finally:
            with self._opened:
                self._opening.discard(name)
                self._opened.notify_all()
                closed = self._closed
                if room is None:
                    self._shares.remove(name)
                elif not closed:
                    for listener in self._listeners:  # first: once others find the room, they publish
                        _listen(room, listener)
                    self._rooms[name] = room
                    self._slots[name] = slot
                    slot.room = room
                    arm, slot.armed = not slot.armed, True
        if closed:
            room.close()
            raise RoomClosed("the hub is closed")
        if arm:
            self._expire_later(slot, self._room_ttl)
        self.opened()
        return room

    def _make_place(self, full: Opener | None) -> Slot:
        """Forgets an empty room, and an inbox only if there is no other. Raises CommandError 106.

        If an opener has too many rooms, forgets one of theirs.
        """
        spared = []
        for _ in range(PROBES):
            with self._lock:
                name = self._shares.next_of(full) if full else next(iter(self._slots), "")
                if not name:
                    break
                slot = self._slots.get(name)
                if slot is None:  # it is being opened
                    continue
                self._slots.move_to_end(name)  # next time, others are tried first
            if is_inbox(name):
                spared.append(slot)
            elif name not in self._always and self._vacate(slot):
                return slot
        for slot in spared:
            if self._vacate(slot):
                return slot
        raise CommandError(ErrorCode.LIMIT_EXCEEDED, self._reason(full), temporary=True)

    def _reason(self, full: Opener | None) -> str:
        if full is not None:
            return f"{full.phrase} may have created at most {full.most} rooms in use ({full.setting})"
        if len(self._slots) < self._most:
            return f"the rest of the {self._most} rooms (max_rooms) is for people who created fewer than you"
        return f"{self._most} rooms are open and in use, which is the maximum (max_rooms); try again later"

    def _vacate(self, slot: Slot) -> bool:
        """Forgets a room if it is empty. Returns False if it is not, or if another thread was faster."""
        room = slot.room
        assert room is not None
        if not (room.retire(0.0) or room.closed):
            return False
        with self._lock:
            return self._forget_locked(slot, room)

    def _expire_later(self, slot: Slot, seconds: float) -> None:
        if self._schedule is not None:
            self._schedule(seconds, lambda: self._expire(slot))

    def _expire(self, slot: Slot) -> None:
        """Forgets the slot's room, or schedules another check for when it may have been empty long enough."""
        room = slot.room
        assert room is not None
        ttl = self._inbox_ttl if is_inbox(room.name) else self._room_ttl
        if room.retire(ttl) or room.closed:
            with self._lock:
                if slot.room is room:  # no other room took over the slot just now
                    slot.armed = False
                    self._forget_locked(slot, room)
                    return
        # At most `room_ttl`, even for an inbox: by then the slot may belong to another room.
        self._expire_later(slot, max(0.01, min(self._room_ttl, ttl - room.idle_for())))

    def _forget_locked(self, slot: Slot, room: Room) -> bool:
        """Removes a closed room. Returns False if another thread has removed or reopened it."""
        if self._slots.get(room.name) is not slot or room.name in self._opening:
            return False
        del self._slots[room.name]
        self._shares.remove(room.name)
        if self._rooms.get(room.name) is room:
            del self._rooms[room.name]
        return True


def _listen(room: Room, listener: ListenerThread) -> None:
    if is_inbox(room.name):
        return  # it is private
    with contextlib.suppress(RoomClosed):  # it has just closed, and nothing follows
        room.fanout.subscribe(
            listener.stream,
            events_of,
            name=f"{room.name}-listener",
            background=True,
            lasting=True,
            producer=listener.producer,
        ).start()
