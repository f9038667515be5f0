"""Harmful messages: deep and huge JSON, invalid names, floods of commands and of errors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from abusing.abuse import abuse
from abusing.stranger import Stranger, Unanswered, text
from abusing.target import Answers, Target
from tests.e2e.crowd import TEXT, encode

LARGEST = 512_000  # bytes of a message that is taken at all


def filled(start: str, middle: str, end: str = "") -> str:
    """As many of `middle` as fit into one message."""
    return start + middle * ((LARGEST - len(start) - len(end)) // len(middle)) + end


HUGE_JSON: dict[str, tuple[str, str]] = {
    "arrays": (filled("", "["), "107"),
    "objects": (filled("", '{"a":'), "107"),
    "arrays, closed": ("[" * 200_000 + "]" * 200_000, "107"),
    "objects in a field nobody reads": (
        '{"type":"ping","id":1,"x":' + '{"a":' * 80_000 + "1" + "}" * 80_000 + "}",
        "107",
    ),
    "arrays in the id": ('{"type":"ping","id":' + "[" * 100_000 + "]" * 100_000 + "}", "107"),
    "blanks": (filled("", " "), "107"),
    "digits": (filled("", "9"), "107"),
    "digits in the id": (filled('{"type":"ping","id":', "9", "}"), "107"),
    "an exponent": ('{"type":"ping","id":1e400000}', "107"),
    "digits in an exponent": (filled('{"type":"ping","id":1e', "9", "}"), "107"),
    "digits in an offset": (
        filled('{"type":"history","room":"a","since":{"epoch":"a","offset":', "9", "}}"),
        "107",
    ),
    "a key": (filled('{"type":"ping","id":1,"', "k", '":1}'), "ok"),
    "many keys": (filled('{"type":"ping","id":1', ',"k":1', "}"), "ok"),
    "the same field again": (filled('{"id":1,"type":"ping"', ',"id":1', "}"), "ok"),
    "the type again": (filled('{"id":1,"type":"ping"', ',"type":"ping"', "}"), "ok"),
    "escapes in a type": (filled('{"id":1,"type":"', "\\u0000", '"}'), "104"),
    "a string without an end": (filled('{"id":1,"type":"', "a"), "107"),
    "half a pair of surrogates": ('{"id":1,"type":"message","room":"a","message":"\\ud800"}', "107"),
    "types to look for": (filled('{"id":1,"type":"count","room":"lobby","types":[', '"x",', '"x"]}'), "107"),
    "users to look for": (filled('{"id":1,"type":"subscribe","room":"lobby","users":[', "1,", "1]}"), "107"),
    "true": ("true", "107"),
    "null": ("null", "107"),
    "nothing": ("", "107"),
    "a constant that is none": ("NaN", "107"),
    "two objects": ('{"type":"ping","id":1}{"type":"ping","id":1}', "107"),
    "a mark of byte order": ('\ufeff{"type":"ping","id":1}', "107"),
    "nothing but a NUL": ("\0", "107"),
}


@abuse("deep and huge JSON", *{expected for _, expected in HUGE_JSON.values()})
def huge_json(target: Target) -> Answers:
    """Each as large as a message may be, on one connection after the other."""
    total = Answers()
    for _ in range(target.size(5, 1)):
        stranger = target.enter()
        for what, (message, expected) in HUGE_JSON.items():
            answer = outcome(stranger, message, what)
            total[answer if answer == expected else f"{answer} instead of {expected} for {what}"] += 1
    return total


@abuse("huge messages of many people", "107")
def huge_messages(target: Target) -> Answers:
    """Everybody sends a few messages of the largest size and stays; the server must free the buffers."""
    message = filled('{"type":"ping","id":', "9", "}")
    strangers = [target.enter() for _ in range(target.size(100, 30))]
    total = Answers()
    for stranger in strangers:
        for _ in range(3):
            total[outcome(stranger, message, "huge messages")] += 1
    return total


def reply(message: bytes) -> str:
    """The kind of a reply: `ok`, the code of an error, or "" for a message that is not a reply."""
    frame = json.loads(message)
    if frame.get("type") == "ok":
        return "ok"
    return str(frame["code"]) if frame.get("type") == "error" else ""


def outcome(stranger: Stranger, message: str, what: str) -> str:
    """The first answer to a message, or how it ended the connection."""
    stranger.texts.clear()
    stranger.pump(encode(TEXT, message.encode()), lambda: any(map(reply, stranger.texts)), what=what)
    return next(filter(None, map(reply, stranger.texts)), "") or stranger.answer()


BAD_NAMES: tuple[object, ...] = (
    "",
    " ",
    "\t\n",
    "a" * 65,
    "\0",
    "\x1b[2J",
    "a\nb",
    7,
    None,
    True,
    [],
    {"a": 1},
)


@abuse("nicknames that are none", "107", "ok")
def bad_nicknames(target: Target) -> Answers:
    """Each is refused or accepted as it is; the connection is still served."""
    total = Answers()
    stranger = target.enter()
    for _ in range(target.size(4, 1)):
        for name in (*BAD_NAMES, "a" * 500_000, "\u202egnp.exe", "\ufdfa" * 64, "e" + "\u0301" * 63):
            answer = stranger.ask("profile", nickname=name)
            total[str(answer.get("code", answer["type"]))] += 1
        if stranger.served() != "served":
            raise Unanswered("names ended the connection")
        stranger = target.enter()
    return total


@abuse("names of rooms that are none", "107", "102", "103", "ok")
def bad_rooms(target: Target) -> Answers:
    """To every command that takes a room."""
    total = Answers()
    for command in ("join", "subscribe", "message", "history", "who", "leave", "typing"):
        stranger = target.enter()
        for name in (*BAD_NAMES, "a" * 129, "a" * 500_000, "/ws", "../../etc", "%00", "\u202e"):
            answer = stranger.ask(command, room=name, message="hi")
            total[str(answer.get("code", answer["type"]))] += 1
    return total


@abuse("error flood", "3509")
def error_flood(target: Target) -> Answers:
    """Nothing but nonsense, without a pause."""
    total = Answers()
    for _ in range(target.size(20, 5)):
        stranger = target.enter()
        stranger.send_reading(text("nonsense") * 20_000)
        total[stranger.answer()] += 1
    return total


@abuse("flood of small commands", "served")
def command_flood(target: Target) -> Answers:
    """All commands are answered, in order, as fast as the replies are read."""
    total = Answers()
    for fields in ({"type": "ping"}, {"type": "who", "room": "healthy"}):
        stranger = target.enter()
        commands = [fields] * target.size(50_000, 10_000)
        total[stranger.served() if in_order(stranger, commands) else "answers out of order"] += 1
    return total


def in_order(stranger: Stranger, commands: Sequence[Mapping[str, object]]) -> bool:
    """Sends commands without a pause; returns whether each is answered once, and in order."""
    stranger.texts.clear()
    stranger.pump(
        b"".join(text({**command, "id": number}) for number, command in enumerate(commands)),
        lambda: len(stranger.texts) >= len(commands),
        what=f"{len(commands)} replies",
    )
    return [json.loads(it).get("re") for it in stranger.texts] == list(range(len(commands)))


@abuse("costly questions", "served")
def costly_questions(target: Target) -> Answers:
    """The longest pages of history and searches through a full log, again and again; all replies are read."""
    speaker = target.enter()
    speaker.ask_all({"type": "message", "room": "long", "message": f"{n:<400}"} for n in range(1000))
    questions: tuple[dict[str, object], ...] = (
        {"type": "history", "room": "long", "limit": 1000},
        {"type": "history", "room": "long", "limit": 1000, "reverse": True},
        {"type": "count", "room": "long", "users": list(range(1, 101))},
        {"type": "rooms"},
    )
    total = Answers()
    for question in questions:
        stranger = target.enter()
        asked = [question] * target.size(200, 20)
        total[stranger.served() if in_order(stranger, asked) else "answers out of order"] += 1
    return total


@abuse("direct messages to everybody", "served", "3509")
def direct_flood(target: Target) -> Answers:
    """To people who are online, including the healthy pair, to many who are not, and to oneself.

    A connection that gets 64 errors because nobody is there is closed with 3509. A full queue is no mistake.
    """
    total = Answers()
    for user in (1, 2):
        stranger = target.enter()
        data = text({"type": "direct", "id": 1, "to": user, "message": "buy"}) * target.size(5_000, 500)
        stranger.pump(data)
        total[stranger.served()] += 1
    for _ in range(target.size(20, 2)):
        stranger = target.enter()
        for number in range(60):
            stranger.ask("direct", to=10_000_000 + number, message="buy")
        stranger.ask("direct", to=stranger.user, message="a" * 100_000)
        total[stranger.served()] += 1
    return total


ALL = (
    huge_json,
    huge_messages,
    bad_nicknames,
    bad_rooms,
    error_flood,
    command_flood,
    costly_questions,
    direct_flood,
)
