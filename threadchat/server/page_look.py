"""Gives the page the title, color, logo and rooms of the configuration, and says which pages may embed it."""

from __future__ import annotations

import dataclasses
import hashlib
import html
import json
from urllib.parse import urlsplit

from threadchat.config.settings import Config
from threadchat.server.http.replies import policy
from threadchat.server.http.static import Resource, read_page

_CONFIGURED = b'<meta name="threadchat" content="{}">'
_TITLE = b"<title>threadchat</title>"


def configured_page(config: Config) -> dict[str, Resource]:
    """The files of the page by path, as `read_page` returns them, with the `page_...` settings applied."""
    resources = read_page()
    page = _dress(resources["/"], config)
    return {**resources, "/": page, "/page/index.html": page}


def _dress(page: Resource, config: Config) -> Resource:
    values = {
        "title": config.page_title,
        "color": config.page_color,
        "logo": config.page_logo,
        "rooms": _listed(config.page_rooms),
    }
    told = {name: value for name, value in values.items() if value}
    meta = f'<meta name="threadchat" content="{html.escape(json.dumps(told))}">'
    body = page.body.replace(_CONFIGURED, meta.encode())
    if config.page_title:
        body = body.replace(_TITLE, f"<title>{html.escape(config.page_title)}</title>".encode())
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    logo = urlsplit(config.page_logo)
    images = f"'self' {logo.scheme}://{logo.netloc}" if logo.netloc else "'self'"
    frames = " ".join("'self'" if it == "self" else it for it in _listed(config.page_embedding)) or "'none'"
    return dataclasses.replace(page, body=body, etag=etag, headers=(policy(images, frames), *page.headers))


def _listed(names: str) -> list[str]:
    return [name for part in names.split(",") if (name := part.strip())]
