"""The actions of simulated people: ordinary use, and now and then everything that can go wrong."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from random import Random
from typing import Final

from soaking.checker import Frame
from soaking.connection import GARBAGE, SPOILED
from soaking.person import LOST, Person

MOST_ROOMS: Final = 4  # rooms that one person is in at the same time
FELT: Final = 30.0  # seconds for which a moderator's action may have effects
UNKNOWN_ROOM, BAD_REQUEST, UNRECOVERABLE = 102, 107, 112
NOT_AVAILABLE, TOO_MANY = 108, 111


def say(person: Person, random: Random) -> None:
    """Sends a message, mostly in a room that the person is in, often with a key."""
    room = room_of(person, random)
    key = f"k{random.random()}" if random.random() < 0.5 else ""
    person.say(room, person.new_text(random.choice((10, 80, 80, 2000))), key)
    if key and random.random() < 0.2:  # sends it again, perhaps before the server has handled the first
        text = next(reversed(person.unsure))
        person.did(f"says {text:.20} twice in {room}")
        person.say(room, text, key)


def burst(person: Person, random: Random) -> None:
    """Sends several messages together."""
    room = room_of(person, random)
    count = random.randint(5, 40)
    person.did(f"says {count} in {room}")
    for _ in range(count):
        person.say(room, person.new_text())


def flood(person: Person, random: Random) -> None:
    """Sends very many messages without asking for replies."""
    assert person.connection is not None
    room = room_of(person, random)
    person.did(f"floods {room}")
    size = random.choice((100, 100, 3000))
    texts = [person.new_text(size) for _ in range(300)]
    person.connection.say(*({"type": "message", "room": room, "message": text} for text in texts))


def write_to(person: Person, random: Random) -> None:
    """Sends a private message to somebody who may be gone."""
    other = random.choice(person.simulation.people)
    if other is person or not other.user or (other.known and not other.entered):
        return  # what one writes to oneself reaches the other sessions only
    nonce = f"psst {person.simulation.next_id()}"
    person.simulation.checker.post(nonce, person.user, other.user)
    there = other.connection if other.entered else None
    alone = [each.user for each in person.simulation.people if each.entered].count(other.user) == 1

    def told(reply: Frame) -> None:
        if alone and there is not None:
            person.simulation.owed.append((other, there, nonce))

    person.ask("direct", told, (NOT_AVAILABLE, TOO_MANY), to=other.user, message=nonce)


def ask(person: Person, random: Random) -> None:
    """Sends one of the queries."""
    room = random.choice(person.simulation.rooms)
    command = random.choice(("who", "count", "rooms", "ping", "history", "history"))
    if command in ("rooms", "ping"):
        person.ask(command)
    elif command == "history":
        page(person, random, room)
    else:
        person.ask(command, None, (UNKNOWN_ROOM,), room=room)


def page(person: Person, random: Random, room: str) -> None:
    """Reads a page of a log, which must agree with what everybody received."""
    fields: dict[str, object] = {"limit": random.choice((1, 10, 100, 1000)), "reverse": random.random() < 0.3}
    position = person.positions.get(room)
    if position is not None and random.random() < 0.5:
        fields["since"] = {
            "offset": max(0, position.last - random.randint(0, 50)),
            "epoch": position.log.epoch,
        }
    person.ask(
        "history",
        lambda reply: person.simulation.read_page(person, room, reply, reverse=bool(fields["reverse"])),
        (UNKNOWN_ROOM, UNRECOVERABLE),
        room=room,
        **fields,
    )


def type_on(person: Person, random: Random) -> None:
    """Sends `typing` in a room of which the person is a member."""
    rooms = [
        room for room, position in person.positions.items() if position.member and room not in person.moving
    ]
    if rooms:
        person.ask("typing", room=random.choice(rooms))


def move(person: Person, random: Random) -> None:
    """Enters or leaves a room."""
    here = [room for room in person.positions if room not in person.moving]
    if here and (len(here) >= MOST_ROOMS or random.random() < 0.4):
        person.leave(random.choice(here))
        return
    room = random.choice(person.simulation.rooms)
    if room not in person.positions and room not in person.moving:
        only = ["message"] if random.random() < 0.15 else None
        person.listen(room, member=random.random() < 0.75, only=only, since=None)


def rename(person: Person, random: Random) -> None:
    """Changes the nickname."""
    nickname = f"{person.name}-{random.randint(0, 99)}"

    def named(reply: Frame) -> None:
        person.nickname, person.resume = nickname, reply.get("resume", "")

    person.ask("profile", named, nickname=nickname)


def stall(person: Person, random: Random) -> None:
    """Reads nothing for a while."""
    slow_down(person, random, 0, random.uniform(0.3, 6))


def read_slowly(person: Person, random: Random) -> None:
    """Reads only a number of bytes a second for a while."""
    slow_down(person, random, random.choice((500, 5_000, 60_000)), random.uniform(1, 8))


def slow_down(person: Person, random: Random, pace: int, seconds: float) -> None:
    assert person.connection is not None
    person.did(f"reads {pace} bytes a second for {seconds:.1f} s")
    person.excuses |= LOST
    person.slow_until = person.simulation.elapsed() + seconds
    person.connection.pace = pace


def talk_nonsense(person: Person, random: Random) -> None:
    """Sends text that is not a command; an error must follow."""
    assert person.connection is not None
    text = random.choice(GARBAGE)
    person.did(f"sends {text[:20]!r}")
    person.errors_due += 1
    person.connection.send_text(text)


def spoil(person: Person, random: Random) -> None:
    """Sends an invalid frame."""
    assert person.connection is not None
    how = random.choice(list(SPOILED))
    person.did(f"spoils the connection: {how}")
    person.excuses |= {SPOILED[how][1], 1006}
    person.act_at = float("inf")  # until it is closed
    person.connection.spoil(how)


def kill(person: Person, random: Random) -> None:
    """Resets the connection, perhaps in the middle of a frame, perhaps with unacknowledged messages."""
    assert person.connection is not None
    person.did("resets")
    person.slow_until = 0.0
    if random.random() < 0.5:
        room = room_of(person, random)
        for _ in range(random.randint(1, 5)):
            person.say(room, person.new_text(), f"k{random.random()}")
    person.excuses.add(1006)
    if random.random() < 0.5:
        person.connection.tear()
    else:
        person.connection.reset()


def half_close(person: Person, random: Random) -> None:
    """Ends the person's own half of the stream."""
    assert person.connection is not None
    person.did("ends its half")
    person.excuses.add(1006)
    person.act_at = float("inf")
    person.connection.half_close()


def close(person: Person, random: Random) -> None:
    """Closes the connection properly."""
    assert person.connection is not None
    person.did("closes")
    person.excuses |= {1000, 1006} if person.slow_until else {1000}
    person.act_at = float("inf")
    person.connection.leave()


def refresh(person: Person, random: Random) -> None:
    """Sends a new token."""
    if person.known:
        person.ask("refresh", token=person.simulation.conditions.token_of(person.number))


# -- moderators ----------------------------------------------------------------------------------------


def discipline(person: Person, random: Random, command: str, **fields: object) -> None:
    """Moderates somebody in one of their rooms. The effects do not count as faults for a while."""
    other = random.choice(person.simulation.people)
    if other.positions and other.user and other is not person:
        room = random.choice(list(other.positions))
        person.did(f"{command}s {other.name} in {room}")
        person.simulation.disciplined[other.user] = person.simulation.elapsed() + FELT
        person.ask(command, None, (UNKNOWN_ROOM,), user=other.user, room=room, **fields)


def mute(person: Person, random: Random) -> None:
    """Mutes somebody for a moment."""
    discipline(person, random, "mute", seconds=1)


def kick(person: Person, random: Random) -> None:
    """Kicks somebody, who may come back."""
    discipline(person, random, "kick")


def delete(person: Person, random: Random) -> None:
    """Deletes a message if the log still has it."""
    for room, position in person.positions.items():
        events = person.simulation.checker.logs.get(position.log, {})
        numbers = [number for number, fact in events.items() if fact.type == "message"]
        if numbers:
            number = random.choice(numbers)
            person.did(f"deletes {number} of {room}")
            person.ask("delete", None, (UNKNOWN_ROOM, BAD_REQUEST, UNRECOVERABLE), room=room, event=number)
            return


def intrude(person: Person, random: Random) -> None:
    """Connects as a stranger who sends invalid or incomplete HTTP, and closes or waits to be closed."""
    sock = socket.create_connection(("127.0.0.1", person.simulation.port))
    with sock:
        sock.send(
            random.choice(
                (b"", b"GET", b"\x16\x03\x01\x02\0", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            )
        )
        if random.random() < 0.5:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def room_of(person: Person, random: Random) -> str:
    """A random room, mostly one that the person is in."""
    if person.positions and random.random() < 0.9:
        return random.choice(list(person.positions))
    return random.choice(person.simulation.rooms)


Action = Callable[[Person, Random], None]

WEIGHTS: Final[dict[Action, float]] = {
    say: 40,
    burst: 3,
    flood: 0.3,
    write_to: 8,
    ask: 10,
    type_on: 5,
    move: 10,
    rename: 2,
    stall: 1.5,
    read_slowly: 1.5,
    talk_nonsense: 2,
    spoil: 1,
    kill: 1.5,
    half_close: 0.7,
    close: 1,
    refresh: 2,
    intrude: 1,
}
"""The relative frequency of each action."""
MODERATION: Final[tuple[Action, ...]] = (mute, kick, delete)
ROUGH: Final = (stall, read_slowly, spoil, kill, half_close, close)
"""Actions that end a connection, or may."""
