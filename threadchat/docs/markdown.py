"""Parses the part of Markdown that the topics use: headings, paragraphs, lists, tables, code, and spans."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading; `level` counts from 1."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Text with spans, see `spans`."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """A fenced block; `text` ends without a line feed."""

    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table; `right` says which columns are aligned to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Sequence[bool]


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list; each item is a sequence of blocks."""

    items: Sequence[Sequence[Block]]
    numbered: bool


Block: TypeAlias = Heading | Paragraph | Code | Table | Bullets


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line: `kind` is text, code, strong, emphasis, link or image. A link has a `target`."""

    kind: str
    text: str
    target: str = ""


_FENCE: Final = re.compile(r"```(\w*)$")
_HEADING: Final = re.compile(r"(#{1,6}) (.+)$")
_BULLET: Final = re.compile(r"(- |\d+\. )")
_CELLS: Final = re.compile(r"(?<!\\)\|")
_SPAN: Final = re.compile(
    r"(?P<code>`+)(?P<body>.+?)(?P=code)"
    r"|!\[(?P<alt>[^\]]*)\]\((?P<src>[^)]+)\)"
    r"|\[(?P<label>(?:`[^`]*`|[^\]`])+)\]\((?P<href>[^)]+)\)"
    r"|<(?P<address>https?://[^\s>]+)>"
    r"|\*\*(?P<strong>.+?)\*\*"
    r"|(?<![\w*])\*(?P<emphasis>[^*\s](?:[^*]*[^*\s])?)\*(?![\w*])"
    r"|\\(?P<escaped>[\\`*|\[\]<>_])",
    re.DOTALL,
)


def anchor(title: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")


def spans(text: str) -> Iterator[Span]:
    """The pieces of a paragraph, a heading or a cell, in order. `strong` and links may contain more spans."""
    end = 0
    for found in _SPAN.finditer(text):
        if found.start() > end:
            yield Span("text", text[end : found.start()])
        end = found.end()
        if found["code"]:
            yield Span("code", found["body"])
        elif found["src"]:
            yield Span("image", found["alt"], found["src"])
        elif found["href"]:
            yield Span("link", found["label"], found["href"])
        elif found["address"]:
            yield Span("link", found["address"], found["address"])
        elif found["escaped"]:
            yield Span("text", found["escaped"])
        else:
            yield Span("strong" if found["strong"] else "emphasis", found["strong"] or found["emphasis"])
    if end < len(text):
        yield Span("text", text[end:])


def parse(text: str) -> list[Block]:
    """The blocks of a text."""
    return _parse(text.split("\n"))


def _parse(lines: Sequence[str]) -> list[Block]:
    blocks: list[Block] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        if not line.strip():
            at += 1
            continue
        block: Block
        if found := _FENCE.match(line):
            end = next((i for i in range(at + 1, len(lines)) if lines[i] == "```"), len(lines))
            block = Code(found[1], "\n".join(lines[at + 1 : end]))
            end += 1
        elif found := _HEADING.match(line):
            block, end = Heading(len(found[1]), found[2]), at + 1
        elif line.startswith("|"):
            end = _end_of(lines, at, lambda it: it.startswith("|"))
            block = _table(lines[at:end])
        elif _BULLET.match(line):
            dashes = line[0] == "-"
            end = _end_of(lines, at, partial(_goes_on, dashes=dashes))
            block = _bullets(lines[at:end])
        else:
            end = _end_of(lines, at, lambda it: bool(it.strip()) and not _begins_block(it))
            block = Paragraph("\n".join(lines[at:end]))
        blocks.append(block)
        at = end
    return blocks


def _goes_on(line: str, *, dashes: bool) -> bool:
    """Whether a line belongs to the list before it: an item of the same kind, or part of an item."""
    if _BULLET.match(line):
        return (line[0] == "-") == dashes
    return not line or line.startswith("  ")


def _begins_block(line: str) -> bool:
    return bool(_FENCE.match(line) or _HEADING.match(line) or _BULLET.match(line) or line.startswith("|"))


def _end_of(lines: Sequence[str], start: int, belongs: Callable[[str], bool]) -> int:
    at = start + 1
    while at < len(lines) and belongs(lines[at]):
        at += 1
    return at


def _table(lines: Sequence[str]) -> Table:
    head, rule, *rows = ([cell.strip() for cell in _CELLS.split(line.strip()[1:-1])] for line in lines)
    return Table(head, rows, [cell.endswith(":") for cell in rule])


def _bullets(lines: Sequence[str]) -> Bullets:
    items: list[list[str]] = []
    for line in lines:
        found = _BULLET.match(line)
        if found:
            items.append([line[found.end() :]])
            indent = found.end()
        else:
            items[-1].append(line[min(indent, len(line) - len(line.lstrip())) :])
    return Bullets([_parse(item) for item in items], lines[0][0] != "-")
