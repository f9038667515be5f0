"""The HTTP request and response of a handshake, in the shapes that `websockets` gives them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

_IN_PATHS = "/:@!$&'()*+,;=~"  # what RFC 3986 3.3 lets stand as it is


class Headers(MutableMapping[str, str]):
    """Names without regard to case, in their order; one name may come more than once.

    As in `websockets`, setting a name adds a line and deleting it takes all its lines away.
    """

    def __init__(self, lines: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._lines = list(lines.items() if isinstance(lines, Mapping) else lines)

    @classmethod
    def of_environ(cls, environ: Mapping[str, Any]) -> Headers:
        """The headers of a WSGI request, their names in the usual spelling."""
        names = [name for name in environ if name.startswith("HTTP_")]
        return cls((name[5:].replace("_", "-").title(), environ[name]) for name in names)

    def __getitem__(self, name: str) -> str:
        """The value of `name`; KeyError where there is none. Of many lines, all, joined with commas."""
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __setitem__(self, name: str, value: str) -> None:
        self._lines.append((name, str(value)))

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

    def __repr__(self) -> str:
        return f"Headers({self._lines!r})"

    def get_all(self, name: str) -> list[str]:
        """Every value of `name`."""
        return [value for known, value in self._lines if known.lower() == name.lower()]

    def raw_items(self) -> Iterator[tuple[str, str]]:
        """Every line as it is."""
        return iter(self._lines)


@dataclass
class Request:
    """What asked for a WebSocket. `path` includes the query."""

    path: str
    headers: Headers
    method: str = "GET"
    protocol: str = "HTTP/1.1"

    @classmethod
    def of_environ(cls, environ: Mapping[str, Any]) -> Request:
        """The request behind a WSGI environ."""
        path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
        query = environ.get("QUERY_STRING", "")
        target = quote(path.encode("latin-1"), _IN_PATHS) + (f"?{query}" if query else "")
        method, protocol = environ.get("REQUEST_METHOD", "GET"), environ.get("SERVER_PROTOCOL", "HTTP/1.1")
        return cls(target, Headers.of_environ(environ), method, protocol)

    @classmethod
    def of_url(cls, url: str, headers: Headers) -> Request:
        """The request for a WebSocket address."""
        parts = urlsplit(url)
        return cls((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), headers)


@dataclass
class Response:
    """The answer to such a request."""

    status_code: int
    reason_phrase: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    @classmethod
    def plain(cls, status: int, text: str) -> Response:
        """One of plain text. Raises ValueError for a status that HTTP does not know."""
        status = HTTPStatus(status)
        headers = Headers({"Content-Type": "text/plain; charset=utf-8"})
        return cls(status.value, status.phrase, headers, text.encode())
