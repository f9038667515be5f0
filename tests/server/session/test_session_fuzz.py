"""Commands of every kind and shape, right and wrong: each is answered once, nothing fails, nothing stays."""

from __future__ import annotations

import contextlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed as PeerClosed

from tests.server.session_helpers import PATIENCE, Json, Person, World, burst
from threadchat.errors import CloseCode, ErrorCode
from threadchat.server.protocol.all_commands import COMMANDS, AnyCommand
from threadchat.server.protocol.malformed import find_id
from threadchat.server.session.legacy import BroadcastSession, DirectSession
from threadchat.server.session.session import MAX_ERRORS

few = settings(
    max_examples=20,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

IDS: list[int | str] = [0, 1, 2, 3, "", "a"]
FENCE = "the last one"
NATIVE_ENDS = {
    CloseCode.NORMAL,  # after logout
    CloseCode.INVALID_TOKEN,
    CloseCode.TOO_MANY_ERRORS,
    CloseCode.FORCE_DISCONNECT,
    CloseCode.EXPIRED,
}
"""With what commands alone may end a connection."""

EVIL: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(1 << 70), 1 << 70),
        st.sampled_from([0, -1, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64]),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=8),
        st.sampled_from(
            ["", " ", "\0", "\x1b[2J", "\u202e", "x" * 129, "y" * 5000, "\U0001f4a9", "/ws", "r"]
        ),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)

GOOD: dict[str, st.SearchStrategy[Any]] = {
    "room": st.sampled_from(["r", "s", "a room", "/ws"]),
    "message": st.sampled_from(["hi", "", "x" * 1000, '"\\\n']),
    "nickname": st.sampled_from(["ann", "bob"]),
    "about": st.sampled_from(["", "me"]),
    "key": st.sampled_from(["", "k", "l"]),
    "to": st.integers(0, 4),
    "user": st.integers(0, 4),
    "types": st.sampled_from([None, [], ["message"], ["join", "leave"], ["nonsense"]]),
    "users": st.sampled_from([None, [], [1, 2], ["ann"]]),
    "since": st.fixed_dictionaries({"offset": st.integers(0, 40), "epoch": st.sampled_from(["", "another"])}),
    "limit": st.integers(1, 1000),
    "reverse": st.booleans(),
    "address": st.sampled_from(["127.0.0.1", "10.0.0.1", "::1", "nowhere"]),
    "seconds": st.sampled_from([1, 60, 0.5]),
    "reason": st.sampled_from(["", "because"]),
    "event": st.integers(1, 40),
}
"""Values as they should be, by the names of fields; others are anything."""
NEVER = ("token",)  # any ends the connection; see the test of it


@st.composite
def commands(draw: st.DrawFn, spoils: bool = True) -> str:
    """One command of the table, its fields mostly right."""
    kind = draw(st.sampled_from(get_args(AnyCommand)))
    command: Json = {"type": kind.__struct_config__.tag}
    if draw(st.integers(0, 9)):
        command["id"] = draw(st.sampled_from(IDS))
    for field in msgspec.structs.fields(kind):
        name = field.encode_name
        if name in ("id", *NEVER) or (not field.required and draw(st.booleans())):
            continue
        evil = spoils and not draw(st.integers(0, 15))
        if not evil or draw(st.booleans()):  # else it is not there
            command[name] = draw(EVIL if evil or name not in GOOD else GOOD[name])
    return json.dumps(command)


@st.composite
def spoiled(draw: st.DrawFn) -> str:
    """A command in which some letters are others, missing or doubled."""
    text = draw(commands())
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(st.text(max_size=3)) + text[at + draw(st.integers(-5, 5)) :]


TALK = st.lists(
    st.one_of(commands(), commands(), commands(), spoiled(), EVIL.map(json.dumps), st.text(max_size=30)),
    max_size=60,
)
CLASSIC = st.one_of(
    st.builds(
        lambda to, text: json.dumps({"to": to, "message": text}), st.integers(0, 3), st.text(max_size=20)
    ),
    st.builds(
        lambda who, text: json.dumps({"from": who, "message": text}),
        st.text(max_size=9),
        st.text(max_size=20),
    ),
    st.builds(lambda a, b: json.dumps({"to": a, "from": a, "message": b}), EVIL, EVIL),
    EVIL.map(json.dumps),
    st.text(max_size=20),
)


class Complaints(logging.Handler):
    """What was logged that must not be: whatever somebody says is their fault."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextlib.contextmanager
def no_complaints() -> Iterator[None]:
    """Nothing is logged as an error."""
    complaints = Complaints()
    logger = logging.getLogger("threadchat")
    logger.addHandler(complaints)
    try:
        yield
    finally:
        logger.removeHandler(complaints)
    assert not complaints.lines, complaints.lines[0]


def hear(person: Person, done: Any) -> tuple[list[Json], int | None]:
    """All that comes until `done` says so of it, and the code of the close, if that comes first."""
    heard: list[Json] = []
    try:
        while not done(heard):
            heard.append(json.loads(person.client.recv(timeout=PATIENCE)))
    except PeerClosed:
        return heard, person.client.close_code
    return heard, None


def ids_of(texts: list[str], *, known: bool) -> Counter[int | str]:
    """How many replies are due for each id: to commands that there are, or to whatever has an id."""
    # Python takes for JSON what is none, lone surrogates above all; of that only an error without id is due.
    decode: Callable[[str], Any] = msgspec.json.decode if known else json.loads
    due: Counter[int | str] = Counter()
    for text in texts:
        try:
            command = decode(text)
        except (ValueError, RecursionError):
            command = None if known else {"id": find_id(text)}
        if isinstance(command, dict) and command.get("id") in IDS and type(command["id"]) in (int, str):
            due[command["id"]] += not known or command.get("type") in list(COMMANDS)
    return due


def check_native(texts: list[str], greets: bool, moderates: bool) -> None:
    """Every command is answered exactly once, in a world where somebody else listens."""
    with no_complaints(), World(profile_timeout=3600, hello_timeout=3600, pong_timeout=3600) as world:
        if moderates:
            world.hooks.moderates = lambda user, room: True
        person = world.enter("ann") if greets else world.connect()
        fence = {"type": "ping", "id": FENCE}
        with contextlib.suppress(OSError):  # closed already
            person.client.socket.sendall(burst(*texts, fence))
        heard, code = hear(person, lambda heard: heard and heard[-1].get("re") == FENCE)
        assert code is None or code in NATIVE_ENDS, code
        errors = [item for item in heard if item.get("type") == "error"]
        assert all(error["code"] != ErrorCode.INTERNAL for error in errors), errors
        if code == CloseCode.TOO_MANY_ERRORS:
            assert len(errors) >= MAX_ERRORS
        if code is None:
            answered = Counter(item["re"] for item in heard if "re" in item and item["re"] != FENCE)
            for each in IDS:
                fewest, most = (ids_of(texts, known=known)[each] for known in (True, False))
                assert fewest <= answered[each] <= most, f"{answered[each]} replies to {each!r}"
        person.leave()


def check_classic(texts: list[str], broadcast: bool) -> None:
    """Every message is answered by an error, or passed on: to oneself, since nobody else is there."""
    with no_complaints(), World(pong_timeout=3600) as world:
        person = world.connect(BroadcastSession if broadcast else DirectSession)
        if not broadcast:
            assert person.next() == {"id": 1}
        with contextlib.suppress(OSError):
            person.client.socket.sendall(burst(*texts))
        heard, code = hear(person, lambda heard: len(heard) == len(texts))
        assert code in (None, CloseCode.TOO_MANY_ERRORS)
        assert all("error" in item or item.keys() == {"from", "message"} for item in heard)
        errors = sum("error" in item for item in heard)
        assert (errors >= MAX_ERRORS) == (code is not None) or code is None
        person.leave()


TARGETS = {
    "native commands": (check_native, (TALK, st.sampled_from([True, True, True, False]), st.booleans())),
    "the older dialects": (check_classic, (st.lists(CLASSIC, max_size=63), st.booleans())),
}
"""What scripts/fuzz runs for longer: a check, and what to give it."""


@few
@given(TALK, st.sampled_from([True, True, True, False]), st.booleans())
def test_commands_of_every_kind(texts: list[str], greets: bool, moderates: bool) -> None:
    check_native(texts, greets, moderates)


@few
@given(st.lists(CLASSIC, max_size=63), st.booleans())
def test_the_older_dialects(texts: list[str], broadcast: bool) -> None:
    check_classic(texts, broadcast)


def test_a_failure_would_be_seen() -> None:
    with pytest.raises(AssertionError, match="a command failed"), no_complaints():
        logging.getLogger("threadchat.server.session.native").error("a command failed")
