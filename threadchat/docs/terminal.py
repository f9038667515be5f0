"""Shows a topic in a terminal: wrapped, with aligned tables, and styled where that is wanted."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from threadchat.docs.markdown import Block, Bullets, Code, Heading, Table, parse, spans
from threadchat.docs.topics import GROUPS, TOPICS

WIDEST: Final = 100
"""Columns; longer lines are hard to read."""
_BOLD: Final = "\x1b[1m"
_PLAIN: Final = "\x1b[0m"


def contents(*, styled: bool = False) -> str:
    """The list of topics."""
    screen = _Screen(WIDEST, styled)
    lines = []
    longest = max(map(len, TOPICS))
    for title, topics in GROUPS.items():
        lines += [screen.bold(title), *(f"  {name:{longest}}  {what}" for name, what in topics.items()), ""]
    return "\n".join(lines)


def show(text: str, width: int, *, styled: bool = False) -> str:
    """The Markdown `text` for a terminal of `width` columns; `styled` allows bold type."""
    screen = _Screen(max(40, min(width, WIDEST)), styled)
    return "\n".join(line for block in parse(text) for line in (*screen.block(block), "")) + "\n"


@dataclass(frozen=True)
class _Screen:
    width: int
    styled: bool

    def bold(self, text: str) -> str:
        return f"{_BOLD}{text}{_PLAIN}" if self.styled else text

    def block(self, block: Block, indent: str = "") -> Iterator[str]:
        if isinstance(block, Heading):
            yield from map(self.bold, self._wrap(f"{'#' * block.level} {_words(block.text)}", "", "  "))
        elif isinstance(block, Code):
            yield from (f"{indent}    {line}" for line in block.text.split("\n"))
        elif isinstance(block, Table):
            yield from self._table(block)
        elif isinstance(block, Bullets):
            yield from self._bullets(block, indent)
        else:
            yield from self._wrap(_words(block.text), indent, indent)

    def _wrap(self, text: str, first: str, rest: str) -> list[str]:
        return textwrap.wrap(
            text, self.width, initial_indent=first, subsequent_indent=rest, break_long_words=False
        )

    def _bullets(self, bullets: Bullets, indent: str) -> Iterator[str]:
        for number, item in enumerate(bullets.items, 1):
            mark = f"{number}. " if bullets.numbered else "- "
            inner = indent + " " * len(mark)
            lines = [line for block in item for line in self.block(block, inner)]
            yield indent + mark + lines[0].removeprefix(inner)
            yield from lines[1:]

    def _table(self, table: Table) -> Iterator[str]:
        head = [_words(cell) for cell in table.head]
        rows = [[_words(cell) for cell in row] for row in table.rows]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        if sum(widths) + 2 * len(widths) > self.width:
            yield from self._records(head, rows)
            return
        for number, row in enumerate([head, *rows]):
            cells = zip(row, widths, table.right, strict=True)
            line = "  ".join(
                cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells
            )
            yield self.bold(line.rstrip()) if number == 0 else line.rstrip()

    def _records(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
        """A table that is too wide: a paragraph for each row, with the head's words before its cells."""
        for first, *rest in rows:
            yield from map(self.bold, self._wrap(first, "", "  "))
            for title, cell in zip(head[1:], rest, strict=True):
                if cell:
                    yield from self._wrap(f"{title}: {cell}" if title else cell, "    ", "      ")


def _words(text: str) -> str:
    return "".join(_span(span.kind, span.text, span.target) for span in spans(" ".join(text.split())))


def _span(kind: str, text: str, target: str) -> str:
    if kind == "image":
        return f"[picture: {text}]"
    if kind == "code":
        return f"`{text}`"
    if kind == "link":
        topic = target.partition("#")[0].removesuffix(".md")
        return f"{_words(text)} (see {topic})" if topic in TOPICS else _words(text)
    return _words(text) if kind != "text" else text
