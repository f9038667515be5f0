"""The rooms of one node by name: made with their first use, forgotten once they were empty for a while."""

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
from threadchat.errors import CommandError, ErrorCode, RoomClosed

PROBES: Final = 32
"""Rooms that are looked at for one to go in another's favour: whoever asks does not pay for all of them."""

Schedule = Callable[[float, Callable[[], None]], object]
"""Calls something in so many seconds, on a thread that must not be blocked: the pinger's `call_later`."""


class Slot:
    """A room's place among those that there may be, with its timer, which it leaves to whoever comes next.

    So there are no more timers than places, however fast rooms come and go.
    """

    __slots__ = ("armed", "room")

    def __init__(self) -> None:
        self.room: Room | None = None
        self.armed = False  # whether its timer runs


class RoomRegistry:
    """Every method may be called from any thread.

    `_lock` guards all that changes here, the slots too. No room is made or asked under it: its broker may
    have to ask others.
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
        """`make` makes a room; without `schedule` none is forgotten by time, inboxes after `inbox_ttl`.

        `most` rooms are open at once, 0 for any number, and beside them those of the names `always`.
        """
        self._make = make
        self._schedule = schedule
        self._room_ttl = room_ttl
        self._inbox_ttl = room_ttl if inbox_ttl is None else inbox_ttl
        self._most = most
        self._always = frozenset(always)
        self._lock = threading.Lock()
        self._opened = threading.Condition(self._lock)
        self._rooms: dict[str, Room] = {}  # read without the lock, too
        self._slots: OrderedDict[str, Slot] = OrderedDict()  # of the same; the next to be looked at first
        self._opening: set[str] = set()
        self._listeners: list[ListenerThread] = []
        self.opened: Callable[[], object] = int  # told after a room was made; by itself nobody asks
        self._closed = False

    def __len__(self) -> int:
        return len(self._rooms)

    def get(self, name: str) -> Room | None:
        """The room of that name, if it is open here."""
        room = self._rooms.get(name)
        return None if room is None or room.closed else room

    def open(self, name: str) -> Room:
        """The room of that name, made if there is none. Raises RoomClosed after `close`.

        Where there are as many as there may be, an empty one goes, the next one in turn: nobody is locked
        out by rooms that nobody is in. Raises CommandError 106, temporary, where none was found.
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
            crowded = self._is_crowded_locked(name)
        return self._open(name, crowded)

    def all(self) -> list[Room]:
        """The rooms that are open."""
        with self._lock:
            return [room for room in self._rooms.values() if not room.closed]

    def attach(self, listener: Listener | Callable[[Event], object], stream: SharedStream) -> None:
        """Has `listener` called for every event of every room. Raises ConfigError, RoomClosed."""
        check_callback("listener", listener, ("event",))
        thread = ListenerThread(listener, stream, "hub")
        with self._lock:
            if self._closed:
                raise RoomClosed("the hub is closed")
            thread.start()  # under the lock: whoever closes joins all that are among the listeners
            self._listeners.append(thread)
            rooms = list(self._rooms.values())
        for room in rooms:
            _listen(room, thread)

    def is_heard(self) -> bool:
        """Whether anybody listens to one of the rooms, or to all."""
        return bool(self._listeners) or any(not room.idle_for() for room in self.all())

    def close(self) -> tuple[list[Room], list[ListenerThread]]:
        """Makes no more rooms; returns those that there are, and who listens to all of them."""
        with self._lock:
            self._closed = True
            return list(self._rooms.values()), list(self._listeners)

    def leave_behind(self) -> None:
        """Begins anew in a forked process, whose parent has the rest. Runs on: its only thread, first."""
        self._lock = threading.Lock()
        self._opened = threading.Condition(self._lock)
        for room in self._rooms.values():
            room.leave_behind()
        self._rooms, self._slots = {}, OrderedDict()
        self._opening, self._listeners = set(), []

    # Helpers

    def _is_crowded_locked(self, name: str) -> bool:
        """Whether a new room of that name, which is being opened, is one too many."""
        if not self._most or name in self._slots or name in self._always:
            return False
        coming = sum(other not in self._slots for other in self._opening)
        apart = sum(other in self._slots or other in self._opening for other in self._always)
        return len(self._slots) + coming - apart > self._most

    def _open(self, name: str, crowded: bool) -> Room:
        """Makes the room of that name, while others who want it wait."""
        room = None
        try:
            # A room of that name that was closed, and is still on the books, leaves the new one its slot.
            slot = self._make_place() if crowded else self._slots.get(name) or Slot()
            room = self._make(name)
        finally:
            with self._opened:
                self._opening.discard(name)
                self._opened.notify_all()
                closed = self._closed
                if room is not None and not closed:
                    for listener in self._listeners:  # first: as soon as others find the room, they speak
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

    def _make_place(self) -> Slot:
        """Forgets an empty room; an inbox only where there is none. Raises CommandError 106."""
        spared = []
        for _ in range(PROBES):
            with self._lock:
                name, slot = next(iter(self._slots.items()), ("", None))
                if slot is None:
                    break
                self._slots.move_to_end(name)  # whatever it is, others are looked at first next time
            if is_inbox(name):
                spared.append(slot)
            elif name not in self._always and self._vacate(slot):
                return slot
        for slot in spared:
            if self._vacate(slot):
                return slot
        reason = f"{self._most} rooms are open and in use, and no more may be (max_rooms); try again later"
        raise CommandError(ErrorCode.LIMIT_EXCEEDED, reason, temporary=True)

    def _vacate(self, slot: Slot) -> bool:
        """Forgets a room if it is empty; False where it is not, or somebody else was faster."""
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
        """Forgets the slot's room, or looks again when it may have been empty for long enough."""
        room = slot.room
        assert room is not None
        ttl = self._inbox_ttl if is_inbox(room.name) else self._room_ttl
        if room.retire(ttl) or room.closed:
            with self._lock:
                if slot.room is room:  # nobody took the place over just now
                    slot.armed = False
                    self._forget_locked(slot, room)
                    return
        # Never later than a room's own time: the slot may be another room's by then.
        self._expire_later(slot, max(0.01, min(self._room_ttl, ttl - room.idle_for())))

    def _forget_locked(self, slot: Slot, room: Room) -> bool:
        """Takes a closed room off the books; False where somebody else did, or began to."""
        if self._slots.get(room.name) is not slot or room.name in self._opening:
            return False
        del self._slots[room.name]
        if self._rooms.get(room.name) is room:
            del self._rooms[room.name]
        return True


def _listen(room: Room, listener: ListenerThread) -> None:
    if is_inbox(room.name):
        return  # which is its person's alone
    with contextlib.suppress(RoomClosed):  # it went just now, and said nothing more
        room.fanout.subscribe(
            listener.stream,
            events_of,
            name=f"{room.name}-listener",
            background=True,
            lasting=True,
            producer=listener.producer,
        ).start()
