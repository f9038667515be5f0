"""Plain replies to HTTP requests, from a WSGI application; none lacks a security header."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from wsgiref.types import StartResponse

TEXT: Final = "text/plain; charset=utf-8"
_SECURITY_HEADERS: Final = [
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
]


def reply(
    start_response: StartResponse, status: str, sentence: str, *headers: tuple[str, str]
) -> Iterable[bytes]:
    """One sentence for whoever reads it."""
    return send(start_response, status, f"{sentence}\n".encode(), ("Content-Type", TEXT), *headers)


def send(
    start_response: StartResponse, status: str, body: bytes, *headers: tuple[str, str]
) -> Iterable[bytes]:
    """Any reply there is goes through here."""
    start_response(status, [*headers, *_SECURITY_HEADERS])
    return [body]
