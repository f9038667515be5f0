"""Tests how topics are shown: as web pages that need nothing from elsewhere, and in a terminal."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest

from tests.docs.pages import DOCS, fences
from threadchat.docs import html, terminal, topics
from threadchat.docs.markdown import Bullets, Code, Heading, Paragraph, Span, Table, anchor, parse, spans
from threadchat.testing import LiveServer

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """The links, ids and pictures of a page; its tags have to fit together."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.add(tag)
        assert not any(name == "style" or name.startswith("on") for name in attributes), (
            "the policy forbids it"
        )
        if tag == "a":
            self.links.append(attributes["href"] or "")
        if tag in ("img", "link"):
            self.loads.append(attributes.get("src") or attributes.get("href") or "")
        if "id" in attributes:
            self.ids.append(attributes["id"] or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_files_are_the_topics() -> None:
    assert {path.stem for path in DOCS.glob("*.md")} == set(topics.TOPICS)
    with pytest.raises(KeyError):
        topics.read("../topics")


@pytest.mark.parametrize("topic", topics.TOPICS)
def test_a_topic_begins_with_its_title(topic: str) -> None:
    first, *rest = parse(topics.read(topic))
    assert isinstance(first, Heading)
    assert first.level == 1
    assert not any(isinstance(block, Heading) and block.level == 1 for block in rest)
    titles = [anchor(block.text) for block in rest if isinstance(block, Heading)]
    assert len(titles) == len(set(titles))


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with LiveServer() as server:
        yield f"{server.page}docs/"


def get(url: str) -> tuple[str, str, dict[str, str]]:
    with urllib.request.urlopen(url, timeout=10) as reply:
        body = reply.read()
        return reply.headers["Content-Type"], body.decode(errors="replace"), dict(reply.headers)


@pytest.mark.parametrize("topic", ["", *(name for group in topics.WEB.values() for name in group)])
def test_a_page_leads_only_to_what_is_there(base: str, topic: str) -> None:
    kind, text, headers = get(base + topic)
    assert kind == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    page = Page(text)
    assert not page.tags & {"script", "style", "iframe", "form"}
    assert len(page.ids) == len(set(page.ids))
    for link in page.loads:
        assert not re.match(r"\w+:|//", link), "nothing comes from elsewhere"
        assert get(urljoin(base, link))[0] in ("text/css; charset=utf-8", "image/png", "image/svg+xml")
    for link in page.links:
        if link.startswith(("https://", "http://")):
            continue
        where, _, part = link.partition("#")
        there = Page(get(urljoin(base, where))[1]) if where else page
        assert not part or part in there.ids, link


def test_what_is_no_topic_is_not_found(base: str) -> None:
    for path in (
        "changelog",
        "contributing",
        "nothing",
        "topics.py",
        "../docs",
        "auth.md",
        "__init__.py",
        "auth/",
    ):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(base + path, timeout=10)
    with urllib.request.urlopen(base.rstrip("/"), timeout=10) as reply:
        assert reply.url == base


@pytest.mark.parametrize("topic", topics.TOPICS)
@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_topic_fits_a_terminal(topic: str, width: int) -> None:
    text = topics.read(topic)
    code = {line for block in fences(text) for line in block.text.split("\n")}
    for line in terminal.show(text, width).split("\n"):
        fits = len(line) <= min(width, terminal.WIDEST) or line.strip() in {it.strip() for it in code}
        assert fits or " " not in line.strip("- |:"), line


def test_words_are_styled_only_where_that_is_wanted() -> None:
    assert "\x1b" not in terminal.show("# Title\n\ntext", 80) + terminal.contents()
    assert "\x1b[1m# Title" in terminal.show("# Title\n\ntext", 80, styled=True)
    assert "a page (see auth)" in terminal.show("[a page](auth.md#x)", 80)


def test_blocks_are_told_apart() -> None:
    text = "# A `b`\n\none\ntwo\n- x\n  y\n\n  ```sh\n  ls\n  ```\n- z\n\n1. n\n\n"
    text += "| a | b |\n|---|--:|\n| 1 | \\| |\n"
    assert parse(text) == [
        Heading(1, "A `b`"),
        Paragraph("one\ntwo"),
        Bullets([[Paragraph("x\ny"), Code("sh", "ls")], [Paragraph("z")]], False),
        Bullets([[Paragraph("n")]], True),
        Table(["a", "b"], [["1", "\\|"]], [False, True]),
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a `b*c*` d", [Span("text", "a "), Span("code", "b*c*"), Span("text", " d")]),
        ("**x `y`**", [Span("strong", "x `y`")]),
        ("*x* 2 * 3 * 4", [Span("emphasis", "x"), Span("text", " 2 * 3 * 4")]),
        ("[`a`](b.md#c)", [Span("link", "`a`", "b.md#c")]),
        ("<https://x.example/>", [Span("link", "https://x.example/", "https://x.example/")]),
        ("![p](q.png)", [Span("image", "p", "q.png")]),
        ("\\|", [Span("text", "|")]),
    ],
)
def test_spans_are_told_apart(text: str, found: list[Span]) -> None:
    assert list(spans(text)) == found


def test_what_people_wrote_is_shown_as_text() -> None:
    page = html.topic_page("x", '# <b>\n\n`<i>` "&" [<u>](auth.md)\n\n| <a> |\n|---|\n| <s> |\n')
    assert not Page(page).tags & {"b", "i", "u", "s"}
