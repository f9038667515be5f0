"""What may be given to a client to connect to, and what is said about the rest."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from threadchat.errors import BadUrl
from threadchat.wire.connecting.address import checked_subprotocols, parse, request_headers


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "target"),
    [
        ("ws://example.com", "example.com", 80, "example.com", "/"),
        ("wss://example.com", "example.com", 443, "example.com", "/"),
        ("WS://Example.com:81/a", "example.com", 81, "example.com:81", "/a"),
        ("ws://example.com:443/", "example.com", 443, "example.com:443", "/"),
        ("wss://example.com:443/", "example.com", 443, "example.com", "/"),
        ("ws://[::1]:8080/chat", "::1", 8080, "[::1]:8080", "/chat"),
        ("ws://[::1]", "::1", 80, "[::1]", "/"),
        ("ws://h?a=b", "h", 80, "h", "/?a=b"),
        ("ws://h/a%20b?c=%26&d=e/f?g", "h", 80, "h", "/a%20b?c=%26&d=e/f?g"),
        ("ws://h/ö?ü=ä", "h", 80, "h", "/%C3%B6?%C3%BC=%C3%A4"),
        ("ws://bücher.example/", "xn--bcher-kva.example", 80, "xn--bcher-kva.example", "/"),
    ],
)
def test_an_address_is_read(url: str, host: str, port: int, authority: str, target: str) -> None:
    address = parse(url)
    assert (address.host, address.port, address.authority, address.target) == (host, port, authority, target)
    assert address.secure is url.startswith("wss")
    assert address.credentials == ""


@pytest.mark.parametrize(
    ("url", "credentials"),
    [
        ("ws://ann:secret@h/", "ann:secret"),
        ("ws://ann@h/", "ann:"),
        ("ws://:key@h/", ":key"),
        ("ws://@h/", ""),
        ("ws://a%3Ab:p%40ss%2F@h/", "a:b:p@ss/"),
    ],
)
def test_user_and_password_are_taken_out(url: str, credentials: str) -> None:
    address = parse(url)
    assert (address.credentials, address.authority) == (credentials, "h")


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("http://h/", "must begin with ws://;"),
        ("https://h/", "must begin with wss://;"),
        ("h:80", "must begin with ws:// or wss://"),
        ("example.com/chat", "must begin with ws:// or wss://"),
        ("", "must begin with ws:// or wss://"),
        ("ws://", "has no host name"),
        ("ws:///chat", "has no host name"),
        ("ws://:80/", "has no host name"),
        ("ws://h:0/", "port must be 1 to 65535"),
        ("ws://h:70000/", "Port out of range"),
        ("ws://h:x/", "Port could not be cast"),
        ("ws://[::1/", "Invalid IPv6 URL"),
        ("ws://h/#room", "must have no fragment"),
        ("ws://h/a b", "without spaces"),
        ("ws://h/\r\nX: y", "without spaces"),
        ("ws://" + "ü" * 70 + "/", "cannot|not a valid name"),
        ("ws://h/\ud800", "must be text without"),
        (b"ws://h/", "must be text without"),
        (None, "must be text without"),
    ],
)
def test_any_other_is_refused_with_what_would_be_right(url: Any, wrong: str) -> None:
    with pytest.raises(BadUrl, match=wrong) as caught:
        parse(url)
    assert "an address looks like ws://host:port/path or wss://host/path" in str(caught.value)


@pytest.mark.parametrize("password", ["secret", "sec@ret"])
def test_a_password_is_not_repeated(password: str) -> None:
    with pytest.raises(BadUrl) as caught:
        parse(f"ws://ann:{password}@h:0/")
    assert "ret" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "ws://...@h:0/" in str(caught.value)


def test_headers_come_as_a_mapping_or_as_pairs() -> None:
    pairs = [("Origin", "https://h"), ("Cookie", "a=b"), ("X-U", "ü")]
    assert request_headers(dict(pairs), "") == pairs
    assert request_headers(iter(pairs), "") == pairs
    assert request_headers(None, "") == []


def test_credentials_become_basic_authorization() -> None:
    ((name, value),) = request_headers(None, "ann:geheim ü")
    assert name == "Authorization"
    scheme, _, code = value.partition(" ")
    assert (scheme, base64.b64decode(code).decode()) == ("Basic", "ann:geheim ü")  # RFC 7617 2.1


def test_a_header_of_ones_own_goes_before_the_urls_credentials() -> None:
    own = [("authorization", "Bearer x")]
    assert request_headers(own, "ann:secret") == own


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("", "x", "a name is letters"),
        ("a b", "x", "a name is letters"),
        ("a:", "x", "a name is letters"),
        ("ü", "x", "a name is letters"),
        ("Host", "x", "sets it itself"),
        ("upgrade", "x", "sets it itself"),
        ("Connection", "x", "sets it itself"),
        ("Sec-WebSocket-Protocol", "x", "sets it itself"),
        ("X", "a\r\nY: b", "must be one line"),
        ("X", "a\0", "must be one line"),
        ("X", " a", "must be one line"),
        ("X", "€", "must be one line"),
    ],
)
def test_headers_that_cannot_be_sent_are_refused(name: str, value: str, wrong: str) -> None:
    with pytest.raises(BadUrl, match=wrong):
        request_headers({name: value}, "")


@pytest.mark.parametrize("given", [{"X": 5}, {5: "x"}, "X: y", [("X",)], [5]])
def test_headers_that_are_no_pairs_of_text_are_refused(given: Any) -> None:
    with pytest.raises(BadUrl, match="must be a name and a value, both text"):
        request_headers(given, "")


def test_a_header_that_only_begins_like_the_handshakes_is_fine() -> None:
    assert request_headers({"Hosted-By": "me", "Upgrade-Insecure-Requests": "1"}, "")


def test_subprotocols_are_a_list_of_names() -> None:
    assert list(checked_subprotocols(["chat.v1", "old"])) == ["chat.v1", "old"]
    assert list(checked_subprotocols(None)) == []


@pytest.mark.parametrize(
    ("given", "wrong"),
    [("chat", r"such as \['chat'\]"), (["a b"], "'a b'"), ([""], "''"), (["a", "a"], "may occur once")],
)
def test_other_subprotocols_are_refused(given: Any, wrong: str) -> None:
    with pytest.raises(BadUrl, match=wrong):
        checked_subprotocols(given)
