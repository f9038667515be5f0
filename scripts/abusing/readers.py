"""Peers that do not read: replies to their commands, messages of others, their pongs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from abusing.abuse import abuse
from abusing.handshakes import HASTY
from abusing.stranger import Stranger, Unanswered, text
from abusing.target import Answers, Target, answers
from tests.e2e.crowd import PING, Crowd, Member, encode

SMALL = 4096  # bytes of a receive buffer that soon stops the sender


@abuse("answers that are never read", "reset", flags=HASTY)
def deaf_commands(target: Target) -> Answers:
    """Endless commands whose replies are never read."""
    strangers = [target.enter(receive_buffer=SMALL) for _ in range(target.size(12, 3))]
    commands = ({"type": "ping"}, {"type": "rooms"}, {"type": "who", "room": "healthy"})
    flood_without_reading(strangers, [text({**it, "id": "a" * 1000}) * 2_000 for it in commands])
    return answers(strangers)


@abuse("pongs that are never read", "3013", "reset", flags=HASTY)
def deaf_pings(target: Target) -> Answers:
    """Endless pings whose pongs are never read."""
    strangers = [target.enter(receive_buffer=SMALL) for _ in range(target.size(4, 1))]
    flood_without_reading(strangers, [encode(PING, b"p" * 125) * 10_000])
    return answers(strangers)


def flood_without_reading(strangers: list[Stranger], floods: list[bytes]) -> None:
    """Each stranger sends one of the floods again and again, until the server has closed the connection."""

    def flood(number: int) -> None:
        while not strangers[number].ended:
            strangers[number].send(floods[number % len(floods)])

    with ThreadPoolExecutor(len(strangers)) as pool:
        list(pool.map(flood, range(len(strangers))))


@abuse("too much that waits", "reset", "end", flags=("--queued-bytes", "2000000"))
def too_much_waiting(target: Target) -> Answers:
    """Twelve peers that do not read get private messages; the connections with the most bytes are closed."""
    deaf = [target.enter(receive_buffer=SMALL) for _ in range(12)]
    speaker = target.enter()
    for stranger in deaf:
        speaker.ask_all({"type": "direct", "to": stranger.user, "message": "a" * 100_000} for _ in range(8))
    target.until(lambda: "(queued_bytes)" in target.log(), "those who hold too much to be let go")
    return Answers(stranger.answer() for stranger in deaf if f"(user {stranger.user} " in shed(target))


def shed(target: Target) -> str:
    """The log lines about connections that were closed because too much waited in all."""
    return "\n".join(line for line in target.log().splitlines() if "too many in all (queued_bytes)" in line)


@abuse("50 readers that stop together", "reset")
def stopping_readers(target: Target) -> Answers:
    """They stop reading together during a flood, which ten others must receive completely."""
    total = Answers()
    with Crowd(target.port) as crowd:
        listening = crowd.enter(10, "stops")
        fill_log(target, crowd, listening, "stops")
        stopped = crowd.enter(target.size(50, 50), "stops", receive_buffer=SMALL)
        target.connections += 60
        for member in stopped:
            member.pace = 0
        said = [f"{number:06} ".ljust(4000, ".") for number in range(target.size(6000, 1500))]
        say_as_heard(crowd, listening, "stops", said)
        dropped(target, crowd, stopped)
        total["reset"] += len(stopped)
    return total


@abuse("a flood past one who never reads", "reset")
def past_a_deaf_one(target: Target) -> Answers:
    """160 MB: the others get all of it, and the connection of the one who does not read is closed."""
    size = 16_000
    with Crowd(target.port) as crowd:
        listening = crowd.enter(3, "past")
        fill_log(target, crowd, listening, "past")
        deaf = crowd.enter(1, "past", receive_buffer=SMALL)
        target.connections += 4
        deaf[0].pace = 0
        said = [
            f"{number:06} ".ljust(size, ".") for number in range(target.size(160_000_000, 16_000_000) // size)
        ]
        say_as_heard(crowd, listening, "past", said)
        dropped(target, crowd, deaf)
    return Answers(reset=1)


def fill_log(target: Target, crowd: Crowd, listening: list[Member], room: str) -> None:
    """Fills the log of the room, so that its memory does not count as growth."""
    say_as_heard(crowd, listening, room, [f"{number:06} ".ljust(4000, ".") for number in range(1200)])
    for member in listening:
        member.messages.clear()
    target.begin()


def say_as_heard(crowd: Crowd, listening: list[Member], room: str, said: list[str]) -> None:
    """The first member sends all messages, a hundred at a time; all must receive them. Raises Unanswered."""
    for heard in range(0, len(said), 100):
        listening[0].say(room, said[heard : heard + 100])
        most = min(heard + 100, len(said))
        crowd.run(lambda most=most: all(heard_all(it, most) for it in listening))  # type: ignore[misc]
    check(listening, said)


def heard_all(member: Member, count: int) -> bool:
    return len(member.messages) >= count or member.closed is not None


def check(members: list[Member], said: list[str]) -> None:
    """Checks that all have received exactly these messages, in order. Raises Unanswered."""
    for member in members:
        if member.closed is not None or member.faults or member.messages != said or not member.has_no_hole():
            heard = f"{len(member.messages)} of {len(said)}"
            raise Unanswered(f"a listener heard {heard}; closed: {member.closed}, {member.faults}")


def dropped(target: Target, crowd: Crowd, stopped: list[Member]) -> None:
    """Waits until the server has closed all of them, though they do not close. Raises TimeoutError."""
    logged = (" closed: 3008", " closed: 3009", " closed: 3010")
    crowd.run(lambda: sum(target.log().count(it) for it in logged) >= len(stopped))
    for member in stopped:
        member.pace = None
    crowd.run(lambda: all(it.closed is not None for it in stopped))


ALL = (deaf_commands, deaf_pings, too_much_waiting, stopping_readers, past_a_deaf_one)
