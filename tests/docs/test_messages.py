"""Tests that every message of the code is explained, and every explained message is in the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.docs.messages import HOLE, Message, messages, pattern, texts
from tests.docs.pages import DOCS
from threadchat.docs.markdown import Heading, Table, parse, spans

TEXT = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
LIST = Path(__file__).with_name("self_explaining.txt")
OTHERS = ("plain/websockets/", "plain/websocket/", "testing/")
"""The texts of other libraries, which are the same here, and those of failed tests."""
SAYS_WHAT_IS_ALLOWED = re.compile(r"\bmust\b|\bat most\b|\bneeds?\b|; (use|give|send|call|close|put) ")
"""Words of messages that need no entry, as they say what would be right."""


IS_A_FRAME = re.compile(
    rf"\d{{3}} [\w ]+|at least|at least 4 times|\d with|[\w-]*[^a-z]*[a-z]*[^a-z]*|{HOLE} port {HOLE}"
)
"""A status of HTTP, part of a sentence, or at most two words around a message from elsewhere."""


def quoted() -> Iterator[str]:
    """The messages in the first column of the tables. Those of Python are in tests/test_mistakes.py."""
    title = ""
    for block in parse(TEXT):
        if isinstance(block, Heading):
            title = block.text
        if isinstance(block, Table) and title != "Awaited by mistake":
            for first, *_ in block.rows:
                found = list(spans(first))
                if len(found) == 1 and found[0].kind == "code":
                    yield found[0].text


def self_explaining() -> list[str]:
    lines = LIST.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def is_there(message: str) -> bool:
    """Whether the code has a text in which the message's parts come in this order."""
    return bool(re.search(pattern(message), texts().replace("`", "")))


@cache
def known() -> list[tuple[re.Pattern[str], int]]:
    """The messages that need nothing more, each with the number of its characters."""
    entries = [*quoted(), *self_explaining()]
    return [(re.compile(pattern(entry)), len(entry.replace("…", ""))) for entry in entries]


def is_covered(message: Message) -> bool:
    """Whether a message is explained, or need not be. An entry has to have half of it, or 20 characters."""
    text = message.text.replace("`", "")
    if message.path.startswith(OTHERS) or SAYS_WHAT_IS_ALLOWED.search(text) or IS_A_FRAME.fullmatch(text):
        return True
    return any((size > 20 or size * 2 > len(text)) and found.search(text) for found, size in known())


def test_every_quoted_message_is_one_of_the_code() -> None:
    assert [message for message in quoted() if not is_there(message)] == []


def test_every_message_is_explained_or_explains_itself() -> None:
    """A new message gets a row in troubleshooting.md, or a line in self_explaining.txt."""
    missing = [
        f"{it.path}:{it.line}: {it.text.replace(HOLE, '…')}" for it in messages() if not is_covered(it)
    ]
    assert missing == []


def test_the_list_of_what_explains_itself_has_nothing_that_is_gone() -> None:
    gone = [line for line in self_explaining() if not is_there(line)]
    assert gone == []


def test_enough_is_found() -> None:
    assert len(list(quoted())) > 80
    found = {(it.path, it.text) for it in messages()}
    assert len(found) > 450
    assert ("server/chat.py", "this chat is closed; make another one") in found
    assert ("broker/redis/subscriber.py", f"lost Redis at {HOLE}: {HOLE}; trying again") in found


def test_what_the_code_does_not_say_is_found() -> None:
    assert is_there("… is not a setting")
    assert not is_there("… is not a settinger")
    assert not is_there("nothing of the kind was ever said")
    assert not is_covered(Message("server/chat.py", 1, "nothing of the kind was ever said"))
