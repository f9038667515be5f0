"""What a WSGI application finds in the environ that `server/http/environ.py` makes."""

from __future__ import annotations

import io
from typing import Any

from threadchat.server.http.environ import make_environ, server_part
from threadchat.server.http.request import Request


def environ_of(
    *headers: tuple[str, str], path: str = "/", authority: str | None = None, body: bytes = b""
) -> dict[str, Any]:
    request = Request("GET", authority, path, "q=1", "HTTP/1.1", list(headers), io.BytesIO(body), b"")
    return make_environ(request, server_part("127.0.0.1", 8080), ("10.0.0.1", 5000))


def test_the_names_of_pep_3333() -> None:
    environ = environ_of(("host", "h"), ("content-type", "text/plain"), ("content-length", "2"), body=b"hi")
    assert environ.pop("wsgi.input").read() == b"hi"
    del environ["wsgi.errors"]
    assert environ == {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "q=1",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "2",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "10.0.0.1",
        "REMOTE_PORT": "5000",
        "HTTP_HOST": "h",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def test_paths_are_decoded_to_bytes_in_latin_1() -> None:
    assert environ_of(path="/%C3%A4%2Fb")["PATH_INFO"].encode("latin-1") == "/ä/b".encode()


def test_repeated_headers_are_joined_and_underscores_dropped() -> None:
    environ = environ_of(("x-user", "a"), ("x_user", "admin"), ("x-user", "b"))
    assert environ["HTTP_X_USER"] == "a,b"


def test_a_header_cannot_pass_for_the_server_s_own_values() -> None:
    environ = environ_of(("content_length", "9"), ("remote-addr", "1.2.3.4"))
    assert "CONTENT_LENGTH" not in environ
    assert environ["REMOTE_ADDR"] == "10.0.0.1"


def test_the_host_of_an_absolute_target_counts() -> None:
    assert environ_of(("host", "a"), authority="b:81")["HTTP_HOST"] == "b:81"


def test_requests_share_no_environ() -> None:
    base = server_part("h", 1)
    request = Request("GET", None, "/", "", "HTTP/1.0", [], b"", b"")
    make_environ(request, base, ("p", 1))["mark"] = True
    assert "mark" not in make_environ(request, base, ("p", 1))
    assert "HTTP_HOST" not in make_environ(request, base, ("p", 1))


def test_the_scheme_is_the_servers() -> None:
    assert server_part("h", 1)["wsgi.url_scheme"] == "http"
    assert server_part("h", 1, "https")["wsgi.url_scheme"] == "https"


def test_ipv4_looks_the_same_on_a_socket_for_both() -> None:
    request = Request("GET", None, "/", "", "HTTP/1.1", [], b"", b"")
    environ = make_environ(request, server_part("::", 1), ("::ffff:10.0.0.1", 1, 0, 0))
    assert environ["REMOTE_ADDR"] == "10.0.0.1"
