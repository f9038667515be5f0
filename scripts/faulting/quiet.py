"""Quiet points: everything is whole, nobody speaks, and all that was promised must be there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Final

from faulting.observations import Observations
from faulting.people import FIRST_USER, Person, token_of
from faulting.site import PRESENCE_TTL, Site
from threadchat.client import Client
from threadchat.errors import CommandError

SPEAK_SECONDS: Final = 60.0  # from the last fault until the last acknowledgement
ARRIVE_SECONDS: Final = 30.0  # from the last acknowledgement until everybody has everything
PRESENCE_SECONDS: Final = PRESENCE_TTL + 15.0  # and until who is gone has left; the machine may be busy
PAGE: Final = 1000
OBSERVER: Final = FIRST_USER - 1  # the user id
LOOK: Final = 0.2


def look(site: Site, people: Sequence[Person], observations: Observations) -> None:
    """Waits until everything is as it must be, and compares all that was seen and promised.

    Speech must have been ended before, by `be_silent`.
    """
    deadline = time.monotonic() + SPEAK_SECONDS
    for person in people:
        if not person.await_silence(max(0.0, deadline - time.monotonic())):
            observations.fault(person.name, f"cannot speak {SPEAK_SECONDS:g} s after everything was whole")
    rooms = sorted({room for person in people for room in person.rooms})
    with ExitStack() as stack:
        observers = []
        for node in site.nodes:
            url = f"ws://{node.host}:{node.port}/chat"
            opened = Client(url, nickname="observer", token=token_of(OBSERVER), timeout=ARRIVE_SECONDS)
            observers.append((node.name, stack.enter_context(opened)))
        _await_presence(site, rooms, people, observers, observations)
        deadline = time.monotonic() + ARRIVE_SECONDS
        for room in rooms:
            _look_at_room(room, people, observers, observations, losses=site.losses, deadline=deadline)
    _within(deadline - time.monotonic(), lambda: not observations.missing_letters())
    url = f"ws://{site.nodes[0].host}:{site.nodes[0].port}/chat"
    observations.settle_letters({person.name: person.read_inbox(url) for person in people}, site.losses)
    observations.settle_epochs(site.restarts)
    observations.counts["quiet points"] += 1


def _await_presence(
    site: Site,
    rooms: Sequence[str],
    people: Sequence[Person],
    observers: Sequence[tuple[str, Client]],
    observations: Observations,
) -> None:
    wrong: dict[tuple[str, str], str] = {}

    def is_right() -> bool:
        wrong.clear()
        for room in rooms:
            expected = {person.name: 1 for person in people if room in person.rooms}
            for name, observer in observers:
                try:
                    present = {each.nickname: each.sessions for each in observer.who(room)}
                except CommandError as error:
                    wrong[name, room] = repr(error)
                    continue
                if present != expected:
                    wrong[name, room] = f"{_difference(present, expected)}"
        return not wrong

    if not _within(PRESENCE_SECONDS, is_right):
        for (name, room), what in wrong.items():
            observations.fault(name, f"presence in {room} is wrong {PRESENCE_SECONDS:g} s later: {what}")
        for room in sorted({room for _, room in wrong}):
            observations.tell(site.describe_presence(room))
        for node in site.nodes:
            lines = [line for line in node.log().splitlines() if " DEBUG " not in line]
            observations.tell("\n".join([f"{node.name}, the end of its log:", *lines[-60:]]))


def _difference(present: dict[str, int], expected: dict[str, int]) -> str:
    names = sorted(present.keys() | expected.keys())
    found = [(name, present.get(name, 0), expected.get(name, 0)) for name in names]
    return ", ".join(
        f"{name} is there {one} times, not {other}" for name, one, other in found if one != other
    )


def _look_at_room(
    room: str,
    people: Sequence[Person],
    observers: Sequence[tuple[str, Client]],
    observations: Observations,
    *,
    losses: Sequence[tuple[float, float]],
    deadline: float,
) -> None:
    members = [person for person in people if room in person.rooms]
    logs: list[tuple[str, list[dict[str, Any]]]] = []

    def is_level() -> bool:
        """A session that is taken for dead only now leaves, and the log goes on: so it is read again."""
        logs[:] = [_whole_log(observer, room) for _, observer in observers]
        head = logs[0][0], len(logs[0][1])
        return logs.count(logs[0]) == len(logs) and all(each.positions.get(room) == head for each in members)

    level = _within(deadline - time.monotonic(), is_level)
    epoch, events = logs[0]
    head = epoch, len(events)
    if not level:
        for (name, _), found in zip(observers[1:], logs[1:], strict=True):
            if found != logs[0]:
                observations.fault(name, f"its log of {room} is not that of {observers[0][0]}")
        for person in members:
            if (place := person.positions.get(room)) != head:
                observations.fault(person.name, f"is at {place} of {room}, and the log at {head}")
    observations.settle_room(room, epoch, events, losses)


def _whole_log(observer: Client, room: str) -> tuple[str, list[dict[str, Any]]]:
    """The epoch and all events, from the first one on, in the form of frames."""
    newest = observer.history(room, limit=1)
    events: list[dict[str, Any]] = []
    while len(events) < newest.offset:
        page = observer.history(room, since=(len(events), newest.epoch), limit=PAGE)
        events += [
            {
                "id": event.id,
                "type": event.type,
                "userId": event.user,
                "message": event.message,
                "sessionId": event.session,
            }
            for event in page.events
        ]
        if not page.events:
            break
    return newest.epoch, events


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK)
    return True
