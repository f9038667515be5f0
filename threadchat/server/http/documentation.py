"""Serves the documentation at `/docs/`: each topic is rendered once, when it is first asked for."""

from __future__ import annotations

import importlib.resources
from functools import cache
from typing import Final

from threadchat.docs import html, topics
from threadchat.server.http.static import Resource, make_resource

PREFIX: Final = "/docs/"
_FILES: Final = (".css", ".png", ".svg")


def find(path: str) -> Resource | None:
    """The page or file at `path`, or None. Runs on: any thread."""
    name = path.removeprefix(PREFIX)
    if name == path or not (name == "" or name in _topics() or name in _files()):
        return None  # before the cache is asked, so that strangers cannot fill it
    return _render(name)


@cache
def _topics() -> frozenset[str]:
    return frozenset(name for group in topics.WEB.values() for name in group)


@cache
def _files() -> frozenset[str]:
    folder = importlib.resources.files("threadchat.docs")
    return frozenset(file.name for file in folder.iterdir() if file.name.endswith(_FILES))


@cache
def _render(name: str) -> Resource:
    if name in _files():
        return make_resource(name, (importlib.resources.files("threadchat.docs") / name).read_bytes())
    page = html.topic_page(name, topics.read(name)) if name else html.contents_page()
    return make_resource("page.html", page.encode())
