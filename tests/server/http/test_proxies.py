"""Covers server/http/proxies.py: whose word about addresses is believed, and how far."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threadchat.server.http import proxies
from threadchat.server.http.proxies import PEER, Proxies, plain_address

TRUSTED = "10.0.0.0/8, 192.0.2.7, 2001:db8:1::/48"


def seen(peer: str, forwarded: str | None = None, **more: Any) -> dict[str, Any]:
    environ = {"REMOTE_ADDR": peer, "REMOTE_PORT": "5000", "wsgi.url_scheme": "http", **more}
    if forwarded is not None:
        environ["HTTP_X_FORWARDED_FOR"] = forwarded
    Proxies(TRUSTED).see_through(environ)
    return environ


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.1.2.3", "203.0.113.5", "203.0.113.5"),
        ("10.1.2.3", "198.51.100.1, 203.0.113.5", "203.0.113.5"),  # what the client claims stays a claim
        ("10.1.2.3", "198.51.100.1, 203.0.113.5 , 10.9.9.9,192.0.2.7", "203.0.113.5"),
        ("10.1.2.3", "10.4.4.4, 10.5.5.5", "10.4.4.4"),  # all of them ours
        ("10.1.2.3", None, "10.1.2.3"),
        ("10.1.2.3", "", "10.1.2.3"),
        ("10.1.2.3", "203.0.113.5, nonsense", "10.1.2.3"),
        ("10.1.2.3", "203.0.113.5, unknown, 10.9.9.9", "10.9.9.9"),
        ("10.1.2.3", "203.0.113.5,", "10.1.2.3"),
        ("10.1.2.3", "203.0.113.5:4711", "203.0.113.5"),
        ("10.1.2.3", "[2001:db8::5]:4711", "2001:db8::5"),
        ("10.1.2.3", "2001:DB8:0:0::5", "2001:db8::5"),
        ("10.1.2.3", "::ffff:203.0.113.5", "203.0.113.5"),
        ("::ffff:10.1.2.3", "203.0.113.5", "203.0.113.5"),
        ("2001:db8:1::9", "203.0.113.5", "203.0.113.5"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # anybody else is not believed
        ("2001:db8:2::9", "198.51.100.1", "2001:db8:2::9"),
        ("not an address", "198.51.100.1", "not an address"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_no_proxy(
    peer: str, forwarded: str | None, client: str
) -> None:
    environ = seen(peer, forwarded)
    assert environ["REMOTE_ADDR"] == client
    assert environ[PEER] == peer
    assert ("REMOTE_PORT" in environ) == (client == peer)


def test_a_unix_socket_is_this_machine() -> None:
    environ = {"REMOTE_ADDR": "", "HTTP_X_FORWARDED_FOR": "203.0.113.5"}
    Proxies("127.0.0.0/8").see_through(environ)
    assert environ["REMOTE_ADDR"] == "203.0.113.5"
    other = {"REMOTE_ADDR": "", "HTTP_X_FORWARDED_FOR": "203.0.113.5"}
    Proxies("10.0.0.1").see_through(other)
    assert other["REMOTE_ADDR"] == ""


@pytest.mark.parametrize(
    ("said", "scheme"),
    [
        ("https", "https"),
        ("WSS", "https"),
        ("ws", "http"),
        ("https, http", "http"),
        ("gopher", "http"),
        ("", "http"),
    ],
)
def test_the_scheme_is_what_the_nearest_proxy_says(said: str, scheme: str) -> None:
    assert seen("10.1.2.3", HTTP_X_FORWARDED_PROTO=said)["wsgi.url_scheme"] == scheme
    assert seen("203.0.113.9", HTTP_X_FORWARDED_PROTO=said)["wsgi.url_scheme"] == "http"


def test_no_other_header_is_believed() -> None:
    claims = {
        "HTTP_FORWARDED": "for=198.51.100.1;proto=https",
        "HTTP_X_REAL_IP": "198.51.100.1",
        "HTTP_X_FORWARDED_HOST": "evil.example",
        "HTTP_HOST": "chat.example",
    }
    environ = seen("10.1.2.3", **claims)
    assert environ["REMOTE_ADDR"] == "10.1.2.3"
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["HTTP_HOST"] == "chat.example"


def test_it_is_done_once() -> None:
    environ = seen("10.1.2.3", "10.9.9.9", HTTP_X_FORWARDED_PROTO="https")
    once = dict(environ)
    environ["HTTP_X_FORWARDED_FOR"] = "203.0.113.5"
    Proxies(TRUSTED).see_through(environ)
    assert environ == {**once, "HTTP_X_FORWARDED_FOR": "203.0.113.5"}


def test_without_proxies_nothing_changes() -> None:
    environ = {"REMOTE_ADDR": "10.1.2.3", "HTTP_X_FORWARDED_FOR": "203.0.113.5"}
    nobody = Proxies()
    nobody.see_through(environ)
    assert environ == {"REMOTE_ADDR": "10.1.2.3", "HTTP_X_FORWARDED_FOR": "203.0.113.5"}
    assert not nobody
    assert not nobody.trusts("10.1.2.3")


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.0.0.1", True),
        ("::ffff:10.0.0.1", True),
        ("11.0.0.1", False),
        ("", False),
        ("fe80::1%eth0", False),
    ],
)
def test_who_is_trusted(address: str, trusted: bool) -> None:
    assert Proxies(TRUSTED).trusts(address) is trusted


@pytest.mark.parametrize(
    ("text", "plain"), [("::ffff:10.0.0.1", "10.0.0.1"), ("::ffff:a00:1", "::ffff:a00:1"), ("::1", "::1")]
)
def test_ipv4_without_its_ipv6_clothes(text: str, plain: str) -> None:
    assert plain_address(text) == plain


@given(st.text(alphabet="0123456789.:,[] abcdf%/\x00é", max_size=80))
def test_no_header_breaks_it_and_a_stranger_behind_a_proxy_is_never_taken_for_another(header: str) -> None:
    assert seen("203.0.113.9", header)["REMOTE_ADDR"] == "203.0.113.9"
    assert seen("10.1.2.3", f"{header}, 203.0.113.9")["REMOTE_ADDR"] == "203.0.113.9"
    seen("10.1.2.3", header)


def test_only_texts_as_long_as_an_address_are_remembered() -> None:
    proxies.is_loopback("127.0.0.9")  # remembered, or else the check below could not fail
    before = proxies._parse.cache_info().currsize
    assert before
    for length in range(65, 200):
        assert not proxies.is_loopback("9" * length)
    assert proxies._parse.cache_info().currsize == before
