"""Which requests `server/http/handshake.py` takes for WebSocket handshakes, and which of those it refuses."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from threadchat.server.http.handshake import refuse, upgrade_requested

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def handshake(**changes: str | None) -> dict[str, Any]:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "chat.example",
        "HTTP_UPGRADE": "websocket",
        "HTTP_CONNECTION": "Upgrade",
        "HTTP_SEC_WEBSOCKET_KEY": KEY,
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
    }
    for name, value in changes.items():
        if value is None:
            environ.pop(name, None)
        else:
            environ[name] = value
    return environ


def status(environ: dict[str, Any], *allow_origin: str) -> int | None:
    refusal = refuse(environ, allow_origin)
    if refusal is None:
        return None
    assert refusal.body.endswith(".")
    return int(refusal.status.split()[0])


def test_a_handshake_is_recognised_and_goes_through() -> None:
    assert upgrade_requested(handshake())
    assert refuse(handshake()) is None


@pytest.mark.parametrize("upgrade", ["WebSocket", "h2c, websocket", " websocket ,foo"])
@pytest.mark.parametrize("connection", ["keep-alive, Upgrade", "UPGRADE", "upgrade,close"])
def test_tokens_are_case_insensitive_members_of_lists(upgrade: str, connection: str) -> None:
    environ = handshake(HTTP_UPGRADE=upgrade, HTTP_CONNECTION=connection)
    assert upgrade_requested(environ)
    assert refuse(environ) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"HTTP_SEC_WEBSOCKET_KEY": None, "HTTP_SEC_WEBSOCKET_VERSION": None}, False),
        ({"HTTP_SEC_WEBSOCKET_KEY": None}, True),
        ({"HTTP_SEC_WEBSOCKET_VERSION": None}, True),
        ({"HTTP_SEC_WEBSOCKET_KEY": ""}, True),
        ({"HTTP_UPGRADE": None}, False),
        ({"HTTP_UPGRADE": ""}, False),
        ({"HTTP_UPGRADE": "h2c"}, False),
        ({"HTTP_UPGRADE": "websockets"}, False),
        ({"REQUEST_METHOD": "POST"}, True),
    ],
)
def test_what_counts_as_a_handshake(changes: dict[str, str | None], expected: bool) -> None:
    assert upgrade_requested(handshake(**changes)) is expected


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "CONNECT", "get"])
def test_other_methods_are_405(method: str) -> None:
    refusal = refuse(handshake(REQUEST_METHOD=method))
    assert refusal is not None
    assert (refusal.status[:3], refusal.headers) == ("405", [("Allow", "GET")])


@pytest.mark.parametrize(
    "key",
    [
        None,
        "",
        f"{KEY},{KEY}",
        KEY[:-1],
        KEY[:-2],
        KEY[:-4],
        KEY + "=",
        "*" * 22 + "==",
        "ä" * 22 + "==",
        base64.b64encode(bytes(15)).decode(),
        base64.b64encode(bytes(17)).decode(),
        base64.b64encode(bytes(18)).decode(),
    ],
)
def test_keys_that_are_400(key: str | None) -> None:
    assert status(handshake(HTTP_SEC_WEBSOCKET_KEY=key)) == 400


@pytest.mark.parametrize("version", [None, "", "8", "0", "14", "13, 8", "13,13", "013"])
def test_versions_that_are_426(version: str | None) -> None:
    refusal = refuse(handshake(HTTP_SEC_WEBSOCKET_VERSION=version))
    assert refusal is not None
    assert refusal.status == "426 Upgrade Required"
    assert ("Sec-WebSocket-Version", "13") in refusal.headers
    assert ("Upgrade", "websocket") in refusal.headers


@pytest.mark.parametrize("connection", [None, "", "keep-alive", "upgraded"])
def test_without_the_connection_token_it_is_400(connection: str | None) -> None:
    assert status(handshake(HTTP_CONNECTION=connection)) == 400


def test_http_1_0_is_400() -> None:
    assert status(handshake(SERVER_PROTOCOL="HTTP/1.0")) == 400


@pytest.mark.parametrize(("length", "expected"), [(None, None), ("", None), ("0", None), ("5", 400)])
def test_a_handshake_has_no_body(length: str | None, expected: int | None) -> None:
    assert status(handshake(CONTENT_LENGTH=length)) == expected


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://chat.example", "chat.example"),
        ("https://chat.example", "chat.example"),
        ("HTTPS://Chat.Example", "cHAT.example"),
        ("http://chat.example", "chat.example:80"),
        ("http://chat.example:80", "chat.example"),
        ("https://chat.example", "chat.example:443"),
        ("https://chat.example:443", "chat.example:"),
        ("http://localhost:8080", "localhost:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
    ],
)
def test_the_server_s_own_origin_is_fine(origin: str, host: str) -> None:
    assert refuse(handshake(HTTP_ORIGIN=origin, HTTP_HOST=host)) is None


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("null", "chat.example"),
        ("", "chat.example"),
        ("http://evil.example", "chat.example"),
        ("http://chat.example.evil.example", "chat.example"),
        ("http://chat.example@evil.example", "chat.example"),
        ("http://chat.example:81", "chat.example"),
        ("http://chat.example", "chat.example:443"),
        ("https://chat.example", "chat.example:80"),
        ("ftp://chat.example", "chat.example"),
        ("file://", "chat.example"),
        ("chrome-extension://chat.example", "chat.example"),
        ("http://chat.example/path", "chat.example"),
        ("http://chat.example,http://evil.example", "chat.example"),
        ("chat.example", "chat.example"),
        ("http://chat.example", None),
        ("http://chat.example", ""),
        ("http://chat.example:99999999", "chat.example:99999999"),
    ],
)
def test_foreign_origins_are_403(origin: str, host: str | None) -> None:
    assert status(handshake(HTTP_ORIGIN=origin, HTTP_HOST=host)) == 403


def test_listed_origins_are_fine() -> None:
    environ = handshake(HTTP_ORIGIN="https://app.example")
    assert status(environ, "https://other.example") == 403
    assert status(environ, "https://other.example", "HTTPS://APP.example") is None
    assert status(environ, "https://app.example:443") is None
    assert status(environ, "http://app.example") == 403
    assert status(environ, "https://app.example:8443") == 403
    extension = handshake(HTTP_ORIGIN="moz-extension://0a1b")
    assert status(extension, "moz-extension://0a1b") is None


def test_a_star_allows_every_origin() -> None:
    assert status(handshake(HTTP_ORIGIN="null"), "*") is None
    assert status(handshake(HTTP_ORIGIN="http://evil.example"), "*") is None


def test_no_listing_makes_null_a_neighbour_of_other_unparsable_origins() -> None:
    assert status(handshake(HTTP_ORIGIN="null"), "moz-extension://0a1b") == 403


@pytest.mark.parametrize("name", ["HTTP_CONNECTION", "HTTP_UPGRADE", "HTTP_SEC_WEBSOCKET_PROTOCOL"])
def test_letters_that_wsproto_would_stumble_over_are_refused(name: str) -> None:
    environ = handshake()
    environ[name] = f"{environ.get(name, 'chat')}, caf\xe9"
    assert status(environ) == 400
