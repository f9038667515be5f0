"""Tests of the page's settings: what the document tells the page, and what its headers let others do."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest

from threadchat import Config, ConfigError
from threadchat.server.http.static import Resource, read_page
from threadchat.server.page_look import configured_page


def told(page: Resource) -> dict[str, Any]:
    [content] = re.findall(r'<meta name="threadchat" content="([^"]*)">', page.body.decode())
    found: dict[str, Any] = json.loads(html.unescape(content))
    return found


def headers(page: Resource) -> dict[str, str]:
    found: list[tuple[str, str]] = []
    page.serve({}, lambda status, headers, exc_info=None: found.extend(headers))  # type: ignore[arg-type,return-value]
    assert len({name for name, _ in found}) == len(found), "no header comes twice"
    return dict(found)


def test_without_settings_the_page_is_as_it_is() -> None:
    page = configured_page(Config())["/"]
    assert told(page) == {}
    assert page.body == read_page()["/"].body
    policy = headers(page)["Content-Security-Policy"]
    assert "img-src 'self';" in policy
    assert policy.endswith("frame-ancestors 'none'")


def test_title_color_logo_and_rooms_are_told() -> None:
    config = Config(
        page_title='Plants & "Co" <b>',
        page_color="#803010",
        page_logo="/logo.svg",
        page_rooms="garden, shed,",
    )
    files = configured_page(config)
    page = files["/"]
    assert files["/page/index.html"] is page
    told_all = {
        "title": 'Plants & "Co" <b>',
        "color": "#803010",
        "logo": "/logo.svg",
        "rooms": ["garden", "shed"],
    }
    assert told(page) == told_all
    assert "<title>Plants &amp; &quot;Co&quot; &lt;b&gt;</title>" in page.body.decode()
    assert page.etag != configured_page(Config())["/"].etag


def test_a_logo_from_elsewhere_and_embedding_pages_are_in_the_policy() -> None:
    config = Config(
        page_logo="https://static.example.org/logo.png", page_embedding="self, https://*.example.org"
    )
    policy = headers(configured_page(config)["/"])["Content-Security-Policy"]
    assert "img-src 'self' https://static.example.org;" in policy
    assert policy.endswith("frame-ancestors 'self' https://*.example.org")
    everybody = headers(configured_page(Config(page_embedding="*"))["/"])["Content-Security-Policy"]
    assert everybody.endswith("frame-ancestors *")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("page_color", "red"),
        ("page_color", "#12345"),
        ("page_logo", "javascript:alert(1)"),
        ("page_logo", "https://a.example/x; script-src *"),
        ("page_embedding", "https://a.example; script-src *"),
        ("page_embedding", "'none'"),
        ("page_title", "x" * 61),
        ("page_title", "a\nb"),
    ],
)
def test_other_values_are_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        Config(**{name: value})  # type: ignore[arg-type]
