"""Replies of a WSGI application to plain HTTP requests, always with the security headers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from wsgiref.types import StartResponse

TEXT: Final = "text/plain; charset=utf-8"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src {}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors {}"
)


def policy(images: str = "'self'", frames: str = "'none'") -> tuple[str, str]:
    """The header that says from where a page may load images, and which pages may embed it."""
    return ("Content-Security-Policy", _POLICY.format(images, frames))


_SECURITY_HEADERS: Final = [
    policy(),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
]


def reply(
    start_response: StartResponse, status: str, sentence: str, *headers: tuple[str, str]
) -> Iterable[bytes]:
    """Replies with one sentence for people."""
    return send(start_response, status, f"{sentence}\n".encode(), ("Content-Type", TEXT), *headers)


def send(
    start_response: StartResponse, status: str, body: bytes, *headers: tuple[str, str]
) -> Iterable[bytes]:
    """Sends a reply; all replies go through this function. `headers` may replace a security header."""
    # 304 has no body, and a length in it would be that of the 200 (RFC 9110 section 8.6).
    length = [] if status.startswith("304") else [("Content-Length", str(len(body)))]
    given = {name for name, _ in headers}
    security = [header for header in _SECURITY_HEADERS if header[0] not in given]
    start_response(status, [*headers, *length, *security])
    return [body]
