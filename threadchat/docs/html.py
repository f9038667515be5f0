"""Shows a topic as a web page: HTML without scripts, and without anything from another host."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from threadchat.docs.markdown import (
    Block,
    Bullets,
    Code,
    Heading,
    Paragraph,
    Span,
    Table,
    anchor,
    parse,
    spans,
)
from threadchat.docs.topics import TOPICS, WEB

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · threadchat</title>
<link rel="stylesheet" href="style.css">
</head>
<body>
<nav aria-label="Topics"><p><a href="./">threadchat</a></p>{navigation}</nav>
<main>{body}</main>
</body>
</html>
"""


def contents_page() -> str:
    """The page that lists all topics. Links are relative: it works below any path that ends in a slash."""
    body = ["<h1>Documentation of threadchat</h1>"]
    for title, topics in WEB.items():
        body.append(f"<h2>{escape(title)}</h2><dl>")
        body += [
            f'<dt><a href="{name}">{name}</a></dt><dd>{escape(what)}</dd>' for name, what in topics.items()
        ]
        body.append("</dl>")
    return _page("Documentation", "".join(body), None)


def topic_page(topic: str, text: str) -> str:
    """The page of one topic. `text` is its Markdown. It does not tell strangers which version this is."""
    blocks = parse(text)
    title = next((block.text for block in blocks if isinstance(block, Heading)), topic)
    return _page(title, "\n".join(map(_block, blocks)), topic)


def _page(title: str, body: str, current: str | None) -> str:
    return _PAGE.format(title=escape(title), body=body, navigation=_navigation(current))


def _navigation(current: str | None) -> str:
    parts = []
    for title, topics in WEB.items():
        marks = {name: ' aria-current="page"' if name == current else "" for name in topics}
        links = "".join(f'<li><a href="{name}"{marks[name]}>{name}</a></li>' for name in topics)
        parts.append(f"<h2>{escape(title)}</h2><ul>{links}</ul>")
    return "".join(parts)


def _block(block: Block) -> str:
    if isinstance(block, Heading):
        return f'<h{block.level} id="{anchor(block.text)}">{_inline(block.text)}</h{block.level}>'
    if isinstance(block, Code):
        return f"<pre><code>{escape(block.text)}</code></pre>"
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Bullets):
        tag = "ol" if block.numbered else "ul"
        return f"<{tag}>{''.join(f'<li>{_item(item)}</li>' for item in block.items)}</{tag}>"
    return f"<p>{_inline(block.text)}</p>"


def _item(blocks: Sequence[Block]) -> str:
    first, *rest = blocks
    head = _inline(first.text) if isinstance(first, Paragraph) else _block(first)
    return head + "".join(map(_block, rest))


def _table(table: Table) -> str:
    def row(cells: Sequence[str], tag: str) -> Iterator[str]:
        yield "<tr>"
        for cell, right in zip(cells, table.right, strict=True):
            yield f"<{tag}{' class=number' if right else ''}>{_inline(cell)}</{tag}>"
        yield "</tr>"

    rows = "".join("".join(row(cells, "td")) for cells in table.rows)
    return f"<div><table><thead>{''.join(row(table.head, 'th'))}</thead><tbody>{rows}</tbody></table></div>"


def _inline(text: str) -> str:
    return "".join(map(_span, spans(text)))


def _span(span: Span) -> str:
    if span.kind == "code":
        return f"<code>{escape(span.text)}</code>"
    if span.kind == "image":
        return f'<img src="{escape(span.target)}" alt="{escape(span.text)}">'
    if span.kind == "link":
        return f'<a href="{escape(_address(span.target))}">{_inline(span.text)}</a>'
    if span.kind == "strong":
        return f"<strong>{_inline(span.text)}</strong>"
    if span.kind == "emphasis":
        return f"<em>{_inline(span.text)}</em>"
    return escape(span.text)


def _address(target: str) -> str:
    """A link between files, as one between pages: `auth.md#tokens` is `auth#tokens`."""
    name, hash_, part = target.partition("#")
    topic = name.removesuffix(".md")
    return f"{topic}{hash_}{part}" if topic in TOPICS else target
