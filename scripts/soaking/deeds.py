"""What people do next: mostly what people do, and now and then everything that goes wrong with them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from random import Random
from typing import Final

from soaking.ledger import Frame
from soaking.line import GARBAGE, SPOILED
from soaking.person import LOST, Person

MOST_ROOMS: Final = 4  # that one person is in
FELT: Final = 30.0  # seconds for which something a moderator did may show
UNKNOWN_ROOM, BAD_REQUEST, UNRECOVERABLE = 102, 107, 112
NOT_AVAILABLE, TOO_MANY = 108, 111


def say(person: Person, random: Random) -> None:
    """A message, mostly in a room where one listens, often with a key."""
    room = room_of(person, random)
    key = f"k{random.random()}" if random.random() < 0.5 else ""
    person.say(room, person.new_text(random.choice((10, 80, 80, 2000))), key)
    if key and random.random() < 0.2:  # a hasty client: the first one may not be there yet
        text = next(reversed(person.unsure))
        person.did(f"says {text:.20} twice in {room}")
        person.say(room, text, key)


def burst(person: Person, random: Random) -> None:
    """Messages that come in together."""
    room = room_of(person, random)
    count = random.randint(5, 40)
    person.did(f"says {count} in {room}")
    for _ in range(count):
        person.say(room, person.new_text())


def flood(person: Person, random: Random) -> None:
    """Very many, which nobody acknowledges."""
    assert person.line is not None
    room = room_of(person, random)
    person.did(f"floods {room}")
    size = random.choice((100, 100, 3000))
    texts = [person.new_text(size) for _ in range(300)]
    person.line.say(*({"type": "message", "room": room, "message": text} for text in texts))


def write_to(person: Person, random: Random) -> None:
    """A private message to somebody, who may be gone."""
    other = random.choice(person.town.people)
    if not other.user or (other.known and not other.entered):
        return
    nonce = f"psst {person.town.next_id()}"
    person.town.ledger.post(nonce, person.user, other.user)
    there = other.line if other.entered else None
    alone = [each.user for each in person.town.people if each.entered].count(other.user) == 1

    def told(reply: Frame) -> None:
        if alone and there is not None:
            person.town.owed.append((other, there, nonce))

    person.ask("direct", told, (NOT_AVAILABLE, TOO_MANY), to=other.user, message=nonce)


def ask(person: Person, random: Random) -> None:
    """One of the questions."""
    room = random.choice(person.town.rooms)
    command = random.choice(("who", "count", "rooms", "ping", "history", "history"))
    if command in ("rooms", "ping"):
        person.ask(command)
    elif command == "history":
        page(person, random, room)
    else:
        person.ask(command, None, (UNKNOWN_ROOM,), room=room)


def page(person: Person, random: Random, room: str) -> None:
    """A page of a log, which agrees with what everybody saw."""
    fields: dict[str, object] = {"limit": random.choice((1, 10, 100, 1000)), "reverse": random.random() < 0.3}
    place = person.places.get(room)
    if place is not None and random.random() < 0.5:
        fields["since"] = {"offset": max(0, place.last - random.randint(0, 50)), "epoch": place.log.epoch}
    person.ask(
        "history",
        lambda reply: person.town.read_page(person, room, reply, reverse=bool(fields["reverse"])),
        (UNKNOWN_ROOM, UNRECOVERABLE),
        room=room,
        **fields,
    )


def type_on(person: Person, random: Random) -> None:
    """Typing, in a room where one is a member."""
    rooms = [room for room, place in person.places.items() if place.member and room not in person.moving]
    if rooms:
        person.ask("typing", room=random.choice(rooms))


def move(person: Person, random: Random) -> None:
    """Into a room, or out of one."""
    here = [room for room in person.places if room not in person.moving]
    if here and (len(here) >= MOST_ROOMS or random.random() < 0.4):
        person.leave(random.choice(here))
        return
    room = random.choice(person.town.rooms)
    if room not in person.places and room not in person.moving:
        only = ["message"] if random.random() < 0.15 else None
        person.listen(room, member=random.random() < 0.75, only=only, since=None)


def rename(person: Person, random: Random) -> None:
    """Another nickname."""
    nickname = f"{person.name}-{random.randint(0, 99)}"

    def named(reply: Frame) -> None:
        person.nickname, person.resume = nickname, reply.get("resume", "")

    person.ask("profile", named, nickname=nickname)


def stall(person: Person, random: Random) -> None:
    """Reads nothing for a while."""
    slow_down(person, random, 0, random.uniform(0.3, 6))


def read_slowly(person: Person, random: Random) -> None:
    """Reads so many bytes a second."""
    slow_down(person, random, random.choice((500, 5_000, 60_000)), random.uniform(1, 8))


def slow_down(person: Person, random: Random, pace: int, seconds: float) -> None:
    assert person.line is not None
    person.did(f"reads {pace} bytes a second for {seconds:.1f} s")
    person.excuses |= LOST
    person.slow_until = person.town.elapsed() + seconds
    person.line.pace = pace


def talk_nonsense(person: Person, random: Random) -> None:
    """Text that is no command: an error is due."""
    assert person.line is not None
    text = random.choice(GARBAGE)
    person.did(f"sends {text[:20]!r}")
    person.errors_due += 1
    person.line.send_text(text)


def spoil(person: Person, random: Random) -> None:
    """A frame that is none."""
    assert person.line is not None
    how = random.choice(list(SPOILED))
    person.did(f"spoils the connection: {how}")
    person.excuses |= {SPOILED[how][1], 1006}
    person.act_at = float("inf")  # until it is closed
    person.line.spoil(how)


def kill(person: Person, random: Random) -> None:
    """A reset, perhaps in the middle of a frame, perhaps with something said and not acknowledged."""
    assert person.line is not None
    person.did("resets")
    person.slow_until = 0.0
    if random.random() < 0.5:
        room = room_of(person, random)
        for _ in range(random.randint(1, 5)):
            person.say(room, person.new_text(), f"k{random.random()}")
    person.excuses.add(1006)
    if random.random() < 0.5:
        person.line.tear()
    else:
        person.line.reset()


def half_close(person: Person, random: Random) -> None:
    """The end of one's own half of the stream."""
    assert person.line is not None
    person.did("ends its half")
    person.excuses.add(1006)
    person.act_at = float("inf")
    person.line.half_close()


def close(person: Person, random: Random) -> None:
    """A proper end."""
    assert person.line is not None
    person.did("closes")
    person.excuses |= {1000, 1006} if person.slow_until else {1000}
    person.act_at = float("inf")
    person.line.leave()


def refresh(person: Person, random: Random) -> None:
    """Another token."""
    if person.known:
        person.ask("refresh", token=person.town.conditions.token_of(person.number))


# -- moderators ----------------------------------------------------------------------------------------


def discipline(person: Person, random: Random, command: str, **fields: object) -> None:
    """Does something about somebody in a room of theirs; what comes of it is no fault for a while."""
    other = random.choice(person.town.people)
    if other.places and other.user:
        room = random.choice(list(other.places))
        person.did(f"{command}s {other.name} in {room}")
        person.town.disciplined[other.user] = person.town.elapsed() + FELT
        person.ask(command, None, (UNKNOWN_ROOM,), user=other.user, room=room, **fields)


def mute(person: Person, random: Random) -> None:
    """Somebody may not speak for a moment."""
    discipline(person, random, "mute", seconds=1)


def kick(person: Person, random: Random) -> None:
    """Somebody is out of a room, and may come back."""
    discipline(person, random, "kick")


def delete(person: Person, random: Random) -> None:
    """A message goes, if it is there yet."""
    for room, place in person.places.items():
        events = person.town.ledger.logs.get(place.log, {})
        numbers = [number for number, fact in events.items() if fact.type == "message"]
        if numbers:
            number = random.choice(numbers)
            person.did(f"deletes {number} of {room}")
            person.ask("delete", None, (UNKNOWN_ROOM, BAD_REQUEST, UNRECOVERABLE), room=room, event=number)
            return


def intrude(person: Person, random: Random) -> None:
    """A stranger who speaks no HTTP, or too little of it, and goes or is shown out."""
    sock = socket.create_connection(("127.0.0.1", person.town.port))
    with sock:
        sock.send(
            random.choice(
                (b"", b"GET", b"\x16\x03\x01\x02\0", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            )
        )
        if random.random() < 0.5:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def room_of(person: Person, random: Random) -> str:
    """Mostly one where they listen."""
    if person.places and random.random() < 0.9:
        return random.choice(list(person.places))
    return random.choice(person.town.rooms)


Deed = Callable[[Person, Random], None]

WEIGHTS: Final[dict[Deed, float]] = {
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
"""How often each is done, beside the others."""
MODERATION: Final[tuple[Deed, ...]] = (mute, kick, delete)
ROUGH: Final = (stall, read_slowly, spoil, kill, half_close, close)
"""What ends a connection, or may."""
