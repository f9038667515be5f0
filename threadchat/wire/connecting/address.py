"""Checks what a client passes to connect: a ws:// or wss:// URL, headers and subprotocols."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from threadchat.errors import BadUrl

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SET_BY_HANDSHAKE: Final = re.compile(r"host|upgrade|connection|sec-websocket-.*", re.IGNORECASE)


class Address(NamedTuple):
    """The parts of a URL."""

    host: str  # for the lookup and for the check of the certificate
    port: int
    secure: bool
    target: str  # path and query, as in the request
    credentials: str  # user:password from the URL, or empty

    @property
    def authority(self) -> str:
        """The value of the Host header; it omits the scheme's default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def parse(url: str) -> Address:
    """Parses a URL (RFC 6455 3). Raises BadUrl, which says what a valid one looks like."""

    def bad(what: str) -> BadUrl:
        shown = re.sub("//[^/?#]*@", "//...@", repr(url))  # the log must not show a password
        shown = shown if isinstance(url, str | int) else f"a {type(url).__name__}"
        return BadUrl(f"{shown}: {what}; an address looks like ws://host:port/path or wss://host/path")

    if not isinstance(url, str) or re.search(r"[\x00-\x20\x7f\ud800-\udfff]", url):
        raise bad("must be text without spaces or control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise bad(str(error)) from None
    if parts.scheme not in ("ws", "wss"):
        meant = {"http": "ws://", "https": "wss://"}.get(parts.scheme)
        raise bad(f"must begin with {meant}" if meant else "must begin with ws:// or wss://")
    if not parts.hostname:
        raise bad("has no host name")
    if port == 0:
        raise bad("port must be 1 to 65535")
    if "#" in url:
        raise bad("must have no fragment (#...)")
    secure = parts.scheme == "wss"
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~") + (
        "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~?") if parts.query else ""
    )
    credentials = ""
    if parts.username or parts.password:
        credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return Address(_ascii(parts.hostname, bad), port or (443 if secure else 80), secure, target, credentials)


def _ascii(host: str, bad: Callable[[str], BadUrl]) -> str:
    """Returns the host name in DNS's ASCII form."""
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        raise bad("the host is not a valid name") from None


def request_headers(
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None, credentials: str
) -> list[tuple[str, str]]:
    """Returns the additional headers of the handshake request as a list. Raises BadUrl."""
    found = list(headers.items() if isinstance(headers, Mapping) else headers or ())
    for pair in found:
        if not (isinstance(pair, tuple | list) and [isinstance(part, str) for part in pair] == [True, True]):
            raise BadUrl(f"header {pair!r:.60}: must be a name and a value, both text")
        name, value = pair
        if not _TOKEN.fullmatch(name):
            raise BadUrl(f"header {name!r}: a name is letters, digits and dashes")
        if _SET_BY_HANDSHAKE.fullmatch(name):
            raise BadUrl(f"header {name!r}: the handshake sets it itself")
        if re.search(r"[^\t\x20-\x7e\x80-\xff]", value) or value != value.strip():
            raise BadUrl(
                f"header {name!r}: its value {value!r} must be one line of Latin-1 without outer spaces"
            )
    if credentials and not any(name.lower() == "authorization" for name, _ in found):
        found.append(("Authorization", "Basic " + base64.b64encode(credentials.encode()).decode()))
    return found


def checked_subprotocols(subprotocols: Sequence[str] | None) -> Sequence[str]:
    """Returns the subprotocols to offer. Raises BadUrl."""
    if isinstance(subprotocols, str):
        raise BadUrl(f"subprotocols must be a list of names, such as [{subprotocols!r}]")
    for name in subprotocols or ():
        if not _TOKEN.fullmatch(name) or list(subprotocols or ()).count(name) > 1:
            raise BadUrl(f"subprotocol {name!r}: a name is letters, digits and dashes, and may occur once")
    return subprotocols or ()
