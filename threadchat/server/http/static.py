"""Serves the files of the page, which are read once, with the headers that a browser's cache needs."""

from __future__ import annotations

import hashlib
import importlib.resources
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from typing import Any, Final
from wsgiref.types import StartResponse

from threadchat.server.http.replies import send

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ts": "text/plain; charset=utf-8",  # no type is registered for TypeScript
    ".webmanifest": "application/manifest+json",
}
_COMMENT: Final = re.compile(r"^[ \t]*(?:/\*(?s:.*?)\*/|//.*)[ \t]*\n", re.MULTILINE)
_REMARK: Final = re.compile(r"[ \t]+// [^\n\"'`]*$", re.MULTILINE)
_INDENTATION: Final = re.compile(r"^\s+", re.MULTILINE)  # empty lines, too
_BREAK: Final = re.compile(r"(?<=[{;,(])\n")  # in scripts, where a line's end means nothing
_AROUND: Final = re.compile(r"\s*([{};])\s*")  # in stylesheets
_FOLDERS: Final = ("text", "view")  # in the folder of the page


@dataclass(frozen=True, slots=True)
class Resource:
    """A file as it is served."""

    content_type: str
    body: bytes
    etag: str
    headers: tuple[tuple[str, str], ...] = ()

    def serve(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Replies with the file, or with 304 if the client's copy is current."""
        headers = ("ETag", self.etag), ("Cache-Control", "no-cache"), *self.headers
        if _matches(environ.get("HTTP_IF_NONE_MATCH", ""), self.etag):
            return send(start_response, "304 Not Modified", b"", *headers)
        return send(start_response, "200 OK", self.body, ("Content-Type", self.content_type), *headers)


def read_page(folder: Traversable | None = None) -> dict[str, Resource]:
    """The files of the page by the paths at which they are served; the page itself is at `/`.

    `folder` defaults to the package's own page. All references in the page are relative, so it works below
    any path that ends in a slash. Raises FileNotFoundError if `index.html` or `favicon.svg` is missing.
    """
    folder = folder or importlib.resources.files("threadchat.server.http") / "page"
    resources = read_folder(folder, "/page/")
    for name in _FOLDERS:
        if (inner := folder / name).is_dir():
            resources |= read_folder(inner, f"/page/{name}/")
    resources = {path: _slim(path, resource) for path, resource in resources.items()}
    for path, name in (("/", "index.html"), ("/favicon.ico", "favicon.svg")):
        if f"/page/{name}" not in resources:
            raise FileNotFoundError(f"the page has no {name}; is threadchat installed completely?")
        resources[path] = resources[f"/page/{name}"]
    return resources


def read_client() -> dict[str, Resource]:
    """The browser's client and its types, by path. Pages of all origins may import them.

    Whether such a page may connect is decided by `allow_origin`.
    """
    resources = read_folder(importlib.resources.files("threadchat.server") / "browser", "/")
    anybody = (("Access-Control-Allow-Origin", "*"),)
    return {
        path: replace(_slim(path, resources[path]), headers=anybody)
        for path in ("/threadchat.js", "/threadchat.d.ts")
    }


def read_folder(folder: Traversable, prefix: str) -> dict[str, Resource]:
    """The files of a folder, each under `prefix` and its name.

    All files are read here and never again, so a request can only name files in this mapping.
    """
    resources = {}
    for file in folder.iterdir():
        if file.is_file() and not file.name.startswith((".", "_")):
            resources[prefix + file.name] = make_resource(file.name, file.read_bytes())
    return resources


def make_resource(name: str, body: bytes) -> Resource:
    """A file, with the content type of its name."""
    content_type = _TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")
    return Resource(content_type, body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _slim(path: str, resource: Resource) -> Resource:
    """A text without the comments and the indentation, which only readers of the source need.

    Comments are those on lines of their own, and `// ` at the end of a line, in scripts and stylesheets.
    """
    if not path.endswith((".js", ".css", ".html")):
        return resource
    text = resource.body.decode()
    if not path.endswith(".html"):
        text = _REMARK.sub("", _COMMENT.sub("", text))
    if path.endswith(".css"):
        text = _AROUND.sub(r"\1", text)
    text = _INDENTATION.sub("", text)
    if path.endswith(".js"):
        text = _BREAK.sub("", text)
    body = text.encode()
    return replace(resource, body=body, etag=f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _matches(if_none_match: str, etag: str) -> bool:
    """Whether the client's copy is current, by the weak comparison of RFC 9110 section 13.1.2."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or tags == ["*"]
