"""Tests of headers, requests and responses of a handshake."""

from __future__ import annotations

import pytest

from threadchat.plain.http import Headers, Request, Response


def test_headers_know_no_case_and_keep_every_line() -> None:
    headers = Headers([("Set-Cookie", "a=1"), ("X-One", "1")])
    headers["set-cookie"] = "b=2"
    assert headers["SET-COOKIE"] == "a=1, b=2"
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


@pytest.mark.parametrize(
    ("url", "path"), [("ws://h", "/"), ("ws://h/a/b?c=d", "/a/b?c=d"), ("ws://h?c", "/?c")]
)
def test_a_request_for_a_url(url: str, path: str) -> None:
    assert Request.of_url(url, Headers()).path == path


def test_a_plain_response() -> None:
    response = Response.plain(404, "no")
    assert (response.status_code, response.reason_phrase, response.body) == (404, "Not Found", b"no")
    assert response.headers["Content-Type"].startswith("text/plain")
    with pytest.raises(ValueError, match="999"):
        Response.plain(999, "")
