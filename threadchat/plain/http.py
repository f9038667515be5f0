"""The HTTP request and response of a handshake, with the interface that they have in `websockets`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from threadchat.plain.websockets.exceptions import InvalidHeaderValue, MultipleValuesError
from threadchat.server.http.connection import HANDOVER
from threadchat.version import __version__

SOFTWARE: Final = f"Python/{sys.version_info[0]}.{sys.version_info[1]} threadchat/{__version__}"
"""What a server and a client call themselves."""
_IN_PATHS = "/:@!$&'()*+,;=~"  # what RFC 3986 3.3 lets stand as it is


_UNSAFE = re.compile(r"[^\t\x20-\x7e\x80-\xff]")


class Headers(MutableMapping[str, str]):
    """Header lines in their order. Names are case-insensitive, and one name may occur more than once.

    As in `websockets`, setting a name adds a line, and deleting it removes all its lines. Iteration yields
    each name once, in lower case; `raw_items` yields every line as it was given.
    """

    def __init__(self, *lines: Mapping[str, str] | Iterable[tuple[str, str]], **named: str) -> None:
        self._lines: list[tuple[str, str]] = []
        self.update(*lines, **named)

    @classmethod
    def of_environ(cls, environ: Mapping[str, Any]) -> Headers:
        """The headers of a WSGI request, with their names in the usual spelling."""
        names = [name for name in environ if name.startswith("HTTP_")]
        return cls((name[5:].replace("_", "-").title(), environ[name]) for name in names)

    @classmethod
    def of_lines(cls, head: bytes) -> Headers:
        """The headers in the head of an HTTP message, without its first line."""
        headers = cls()
        for line in head.decode("latin-1").splitlines():
            name, colon, value = line.partition(":")
            if colon:
                headers.set_insecure(name, value.strip(" \t"))
        return headers

    def __getitem__(self, name: str) -> str:
        """The value of `name`. Raises KeyError if there is none, MultipleValuesError for several."""
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        if len(values) > 1:
            raise MultipleValuesError(name)
        return values[0]

    def __setitem__(self, name: str, value: str) -> None:
        """Adds a line. Raises InvalidHeaderValue for a value with a line break."""
        if _UNSAFE.search(str(value)):
            raise InvalidHeaderValue(name, value)
        self._lines.append((name, value))

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._lines = [line for line in self._lines if line[0].lower() != name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_all(name))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name, _ in self._lines))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __eq__(self, other: object) -> bool:
        return self._by_name() == other._by_name() if isinstance(other, Headers) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __str__(self) -> str:
        return "".join(f"{name}: {value}\r\n" for name, value in self._lines) + "\r\n"

    def __repr__(self) -> str:
        return f"Headers({self._lines!r})"

    def update(self, *lines: Any, **named: str) -> None:
        """Adds all lines of other Headers, of a mapping or of pairs."""
        if len(lines) > 1:
            raise TypeError(f"at most one mapping or list of pairs can be given, not {len(lines)}")
        for more in (*lines, named):
            if isinstance(more, Headers):
                self._lines += more._lines
            elif hasattr(more, "keys"):
                for name in more.keys():  # noqa: SIM118  # it may have no __iter__
                    self[name] = more[name]
            else:
                for name, value in more:
                    self[name] = value

    def clear(self) -> None:
        """Removes all lines."""
        self._lines.clear()

    def copy(self) -> Headers:
        """An independent copy."""
        return Headers(self)

    def get_all(self, name: str) -> list[str]:
        """Every value of `name`."""
        return [value for known, value in self._lines if known.lower() == name.lower()]

    def raw_items(self) -> Iterator[tuple[str, str]]:
        """Every line as it was given."""
        return iter(self._lines)

    def set_insecure(self, name: str, value: str) -> None:
        """Adds a line without checking its value."""
        self._lines.append((name, value))

    def serialize(self) -> bytes:
        """The bytes of all lines, and of the empty line that ends them."""
        return str(self).encode("latin-1")

    def _by_name(self) -> dict[str, list[str]]:
        return {name: self.get_all(name) for name in self}


@dataclass
class Request:
    """The request for a WebSocket. `path` includes the query."""

    path: str
    headers: Headers
    method: str = "GET"
    protocol: str = "HTTP/1.1"

    @classmethod
    def of_environ(cls, environ: Mapping[str, Any]) -> Request:
        """The request of a WSGI environ."""
        handover = environ.get(HANDOVER)
        if handover is not None:  # what the client sent, letter for letter
            target, headers = handover.target, Headers(handover.headers)
        else:
            path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
            query = environ.get("QUERY_STRING", "")
            target = quote(path.encode("latin-1"), _IN_PATHS) + (f"?{query}" if query else "")
            headers = Headers.of_environ(environ)
        method, protocol = environ.get("REQUEST_METHOD", "GET"), environ.get("SERVER_PROTOCOL", "HTTP/1.1")
        return cls(target, headers, method, protocol)

    @classmethod
    def parse(cls, head: bytes) -> Request:
        """Parses the head of a client's request."""
        line, _, rest = head.partition(b"\r\n")
        method, target, protocol = line.decode("latin-1").split(" ")
        return cls(target, Headers.of_lines(rest), method, protocol)

    def serialize(self) -> bytes:
        """The request as bytes."""
        return f"{self.method} {self.path} {self.protocol}\r\n".encode("latin-1") + self.headers.serialize()


@dataclass
class Response:
    """The response to a request."""

    status_code: int
    reason_phrase: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    @classmethod
    def parse(cls, head: bytes, body: bytes = b"") -> Response:
        """Parses the head of a response. Raises ValueError for an invalid status line."""
        line, _, rest = head.partition(b"\n")
        version, _, status = line.decode("latin-1").strip().partition(" ")
        if version not in ("HTTP/1.1", "HTTP/1.0") or not re.fullmatch(r"\d{3}( .*)?", status):
            raise ValueError(f"unsupported status line: {line.decode('latin-1').strip()!r}")
        return cls(int(status[:3]), status[4:], Headers.of_lines(rest), body)

    def serialize(self) -> bytes:
        """The response as bytes."""
        line = f"HTTP/1.1 {self.status_code} {self.reason_phrase}\r\n"
        return line.encode("latin-1") + self.headers.serialize() + self.body

    @classmethod
    def plain(cls, status: int, text: str) -> Response:
        """A plain-text response. Raises ValueError for an unknown status."""
        status = HTTPStatus(status)
        body = text.encode()
        headers = Headers({"Date": formatdate(usegmt=True), "Connection": "close"})
        headers["Content-Length"] = str(len(body))
        headers["Content-Type"] = "text/plain; charset=utf-8"
        return cls(status.value, status.phrase, headers, body)
