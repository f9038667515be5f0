"""Rooms without any server or socket: three threads count to nine, and a file keeps what was said.

python scripts/examples/room_only.py events.jsonl
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from threadchat import CommandError, Event, EventStream, Hub, JsonLines, MemoryBroker, Room, RoomClosed

PEOPLE = ("ann", "bob", "cyn")
LAST = 9


def take_turns(room: Room, me: str, stream: EventStream) -> None:
    """Says the number after the one that was heard, when it is one's turn. Runs on a thread of its own."""
    for event in stream:  # ends with the room, or where one is removed from it
        number = int(event.message) + 1 if event.type == "message" else 0
        if 0 < number <= LAST and PEOPLE[number % len(PEOPLE)] == me:
            room.message(me, str(number))


@contextmanager
def refused(what: str, error: type[Exception]) -> Iterator[None]:
    """Shows how a room says no."""
    try:
        yield
    except error as reason:
        print(f"{what}: {reason}")


def main(path: str) -> None:
    hub = Hub(MemoryBroker())
    hub.attach_listener(JsonLines(path))  # sees every event of every room, on a thread of its own
    room = hub.room("numbers")  # made with its first use; `Room("numbers")` would do without a hub

    streams = {person: room.add(person, "laptop") for person in PEOPLE}
    watcher = room.add("ann", "phone")  # a second session of the same person
    threads = [threading.Thread(target=take_turns, args=(room, *item)) for item in streams.items()]
    for thread in threads:
        thread.start()

    room.message("bob", "1")  # returns at once; the others go on by themselves
    heard: list[Event] = []
    while not heard or heard[-1].message != str(LAST):
        event = watcher.get(timeout=10)
        assert event is not None, "the stream ended early"
        heard.append(event)
    print("ann's phone:", *(event.message or event.type for event in heard))
    print("who:", *(f"{person.nickname} ({len(person.sessions)})" for person in room.who()))

    with refused("a second laptop", CommandError):
        room.add("ann", "laptop")
    room.remove("cyn", "laptop")  # their stream ends, and so does their thread
    with refused("remove again", CommandError):
        room.remove("cyn", "laptop")

    newest = [item.event for item in room.history(limit=3).records]
    print("the newest:", *(f"{event.id}-{event.type}-{event.nickname}" for event in newest))
    room.close()  # a last event, "close", ends every stream
    for thread in threads:
        thread.join()
    print("after the end:", room.message("ann", "too late"))  # does nothing
    with refused("too late to join", RoomClosed):
        room.add("dan", "laptop")
    print("all written:", hub.close())  # ends the listener once it has seen everything


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "events.jsonl")
