"""Holds the messages that the documentation quotes to the code: each is one that the program can print."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.docs.pages import DOCS, ROOT
from threadchat.docs.markdown import Table, parse, spans

TEXT = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
HOLE = "\0"
"""Stands for what varies in a message of the code, as an ellipsis does in the documentation."""


def quoted() -> Iterator[str]:
    for block in parse(TEXT):
        if isinstance(block, Table):
            for first, *_ in block.rows:
                found = list(spans(first))
                if len(found) == 1 and found[0].kind == "code":
                    yield found[0].text


def text_of(node: ast.AST) -> str | None:
    """A text of the code with holes where it varies; None for what is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[sdr]|%\.\d+[a-z]", HOLE, node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or HOLE for part in node.values)
    return None


@cache
def messages() -> str:
    """All texts of the code, one a line."""
    found = []
    for path in sorted((ROOT / "threadchat").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = text_of(node)
            if text and " " in text:
                found.append(text.replace("\n", " "))
    return "\n".join(found)


def is_there(message: str) -> bool:
    """Whether the code has a text in which the message's parts come in this order, holes between them."""
    parts = [re.escape(part.strip()) for part in message.replace("`", "").split("…") if part.strip()]
    return bool(re.search(r"[^\n]*?".join(parts), messages().replace("`", "")))


@pytest.mark.parametrize("message", list(quoted()))
def test_a_quoted_message_is_one_of_the_code(message: str) -> None:
    assert is_there(message)


def test_enough_is_quoted() -> None:
    assert len(list(quoted())) > 50


def test_what_the_code_does_not_say_is_found() -> None:
    assert is_there("… is not a setting")
    assert not is_there("… is not a settinger")
    assert not is_there("nothing of the kind was ever said")
