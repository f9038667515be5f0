"""Tests of the page's files: the package's own, and that they can stand below any path."""

from __future__ import annotations

import gzip
import importlib.resources
import re
from posixpath import dirname, normpath

import pytest

from threadchat.server.admin.routes import read_ops_page
from threadchat.server.http.static import read_client, read_page


def test_the_packages_own_page_is_whole() -> None:
    resources = read_page()
    assert resources["/"] is resources["/page/index.html"]
    assert resources["/favicon.ico"].content_type == "image/svg+xml"


def test_everything_the_page_refers_to_is_relative_and_there() -> None:
    """So that a page mounted at /chat/ finds its files and its socket below it."""
    resources = read_client() | read_page()
    referred = re.findall(r'(?:href|src)="([^"#]+)"', resources["/"].body.decode())
    assert referred
    for name in referred:
        assert f"/{name}" in resources
    for path, resource in resources.items():
        if path.startswith("/page/") and path.endswith(".js"):
            for name in re.findall(r'from "([^"]+)"', resource.body.decode()):
                assert name.startswith(("./", "../"))
                assert normpath(f"{dirname(path)}/{name}") in resources
    assert 'new URL("app.js", document.currentScript.src)' in resources["/page/start.js"].body.decode()
    assert 'new URL("chat", document.baseURI)' in resources["/page/app.js"].body.decode()


def test_the_page_is_small() -> None:
    """Compressed, as a proxy sends it. Before the first paint: the page, its style, its icon and start.js."""
    resources = {path: item for path, item in (read_client() | read_page()).items() if path.count(".") == 1}
    del resources["/favicon.ico"]
    size = sum(len(gzip.compress(item.body, 9)) for item in resources.values())
    assert size <= 60 * 1024, size
    page = resources["/page/index.html"].body.decode()
    assert len(re.findall(r'(?:href|src)="([^"#]+)"', page)) <= 5


def test_scripts_are_served_without_what_only_readers_of_the_source_need() -> None:
    for path, resource in (read_client() | read_page()).items():
        if path.endswith((".js", ".css")):
            text = resource.body.decode()
            assert not re.search(r"^\s|^/\*|^//|^$(?!\Z)", text, re.MULTILINE), path
    assert "https?:" in read_page()["/page/text/format.js"].body.decode(), "what looks like a comment stays"


def test_every_word_of_the_page_is_in_one_table() -> None:
    """Neither the document nor another module has text of its own that a reader sees."""
    resources = read_page()
    document = re.sub(r"(?s)<noscript>.*?</noscript>|<title>.*?</title>", "", resources["/"].body.decode())
    assert [text for text in re.findall(r">([^<]+)<", document) if text.strip()] == []
    assert re.findall(r'(?:aria-label|title)="([^"]+)"', document) == []
    used = re.findall(r'data-w(?:-label|-placeholder)?="(\w+)"', document)
    scripts = {path: item.body.decode() for path, item in resources.items() if path.endswith(".js")}
    del scripts["/page/text/words.js"]
    table = (importlib.resources.files("threadchat.server.http") / "page/text/words.js").read_text()
    for source in scripts.values():
        code = re.sub(r"/\*(?s:.)*?\*/|//[^\n]*", "", source)
        used += re.findall(r"\bW\.(\w+)", code)
        sentences = re.findall(r'"[A-Z][a-z]+ [^"]*"|`[A-Z][a-z]+ [^`]*`|: "[A-Z][a-z]+[.!?]?"', code)
        assert sentences == []
    for name in used:
        assert re.search(rf"^  {name}:", table, re.MULTILINE), name
    known = re.findall(r"^  (\w+):", table, re.MULTILINE)
    assert sorted(set(known) - set(used) - {"language", "direction", "page"}) == [], "words that nobody says"


def luminance(color: str) -> float:
    """WCAG's relative luminance of "#rrggbb"."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_borders_of_inputs_stand_out(theme: str) -> None:
    """By 3:1, inside and outside; axe-core looks at text only."""
    css = read_page()["/page/style.css"].body.decode()
    colors = {name: pair for name, *pair in re.findall(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\)", css)}
    edge, *grounds = (
        luminance(colors[name][theme == "dark"]) for name in ("edge", "raised", "paper", "side")
    )
    for ground in grounds:
        assert (max(edge, ground) + 0.05) / (min(edge, ground) + 0.05) >= 3
    assert css.count("border:1px solid var(--edge)") + css.count("border: 1px solid var(--edge)") == 2


def test_the_client_is_a_module_with_its_types() -> None:
    resources = read_client()
    types = {path: resource.content_type for path, resource in resources.items()}
    assert types == {
        "/threadchat.js": "text/javascript; charset=utf-8",
        "/threadchat.d.ts": "text/plain; charset=utf-8",
    }


def test_the_operators_page_is_whole_too() -> None:
    """It is at `/ops`, so what is relative to it begins beside that."""
    resources = read_ops_page()
    assert resources["/ops"] is resources["/ops/index.html"]
    page = resources["/ops"].body.decode()
    referred = re.findall(r'(?:href|src)="([^"#]+)"', page)
    assert referred
    for name in referred:
        assert f"/{name}" in resources
    scripts = {path: resource.body.decode() for path, resource in resources.items() if path.endswith(".js")}
    for source in scripts.values():
        for name in re.findall(r'from "([^"]+)"', source):
            assert name.startswith("./")
            assert f"/ops/{name[2:]}" in resources
    assert "new URL(`api/${name}`, document.baseURI)" in scripts["/ops/ops.js"]
    for forbidden in ("style=", "<style", "onclick", "<script>", "http://", "https://"):
        assert forbidden not in page, "the policy that goes with it allows nothing from elsewhere"
