"""Tests of headers, requests and responses of a handshake."""

from __future__ import annotations

import pytest

from threadchat.plain.http import Headers, Request, Response
from threadchat.plain.websockets.exceptions import InvalidHeaderValue, MultipleValuesError


def test_headers_know_no_case_and_keep_every_line() -> None:
    headers = Headers([("Set-Cookie", "a=1"), ("X-One", "1")])
    headers["set-cookie"] = "b=2"
    with pytest.raises(MultipleValuesError):
        assert headers["SET-COOKIE"]
    assert headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert list(headers.raw_items()) == [("Set-Cookie", "a=1"), ("X-One", "1"), ("set-cookie", "b=2")]
    assert (len(headers), list(headers)) == (2, ["set-cookie", "x-one"])
    del headers["Set-Cookie"]
    assert "set-cookie" not in headers
    assert headers.get("Set-Cookie") is None
    with pytest.raises(KeyError):
        del headers["Set-Cookie"]


def test_a_request_from_an_environ() -> None:
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "/app",
        "PATH_INFO": "/caf\u00c3\u00a9 x",
        "QUERY_STRING": "a=1&b=%20",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_X_FORWARDED_FOR": "10.0.0.1",
        "wsgi.version": (1, 0),
    }
    request = Request.of_environ(environ)
    assert request.path == "/app/caf%C3%A9%20x?a=1&b=%20"
    assert list(request.headers.raw_items()) == [("X-Forwarded-For", "10.0.0.1")]


def test_what_was_on_the_wire() -> None:
    request = Request.parse(b"GET /a?b HTTP/1.1\r\nHost: h\r\nX: 1\r\nX: 2\r\n\r\n")
    assert (request.path, request.headers.get_all("x")) == ("/a?b", ["1", "2"])
    assert Request.parse(request.serialize()) == request
    response = Response.parse(b"HTTP/1.1 404 Not Here\r\nA: b\r\n\r\n")
    assert (response.status_code, response.reason_phrase, response.headers["a"]) == (404, "Not Here", "b")
    with pytest.raises(ValueError, match="unsupported status line"):
        Response.parse(b"SSH-2.0-server\r\n\r\n")


def test_no_value_breaks_out_of_its_line() -> None:
    with pytest.raises(InvalidHeaderValue, match="invalid X header"):
        Headers()["X"] = "a\r\nSet-Cookie: b"


def test_a_plain_response() -> None:
    response = Response.plain(404, "no")
    assert (response.status_code, response.reason_phrase, response.body) == (404, "Not Found", b"no")
    assert response.headers["Content-Type"].startswith("text/plain")
    with pytest.raises(ValueError, match="999"):
        Response.plain(999, "")
