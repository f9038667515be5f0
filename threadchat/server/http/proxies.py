"""Finds the client's address behind trusted proxies; what other proxies say is ignored."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final

PEER: Final = "threadchat.peer"  # a key of the environ
SCHEME: Final = "threadchat.scheme"
"""Another one: the scheme that a trusted proxy was asked by. Else http may only be what is seen here."""
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_HOST: Final = re.compile(r"(\[[^\]]+\]|[^:]*)(?::[0-9]*)?")
_THIS_MACHINE: Final = IPv4Address("127.0.0.1")
_LONGEST: Final = 64
"""Characters of an address, with the name of an interface. A longer text is none, and is not kept."""

Address = IPv4Address | IPv6Address


class Networks:
    """Some addresses and networks. Immutable, so every method runs on any thread."""

    def __init__(self, networks: str = "") -> None:
        """`networks`: addresses or networks, separated by commas. Raises ValueError for anything else."""
        self._networks = tuple(ip_network(each.strip()) for each in networks.split(",") if each.strip())

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: str) -> bool:
        found = _read(address) if self._networks else None
        return found is not None and self.contain(found)

    def contain(self, address: Address) -> bool:
        """Whether one of them contains the address."""
        return any(address in network for network in self._networks)


class Proxies(Networks):
    """The proxies of the setting `trusted_proxy`. Immutable, so every method runs on any thread.

    Two of their headers are trusted: X-Forwarded-For, to which each proxy appends the address of its peer,
    and X-Forwarded-Proto. Any other client could forge these headers.
    """

    def trusts(self, address: str) -> bool:
        """Whether `address` belongs to a trusted proxy."""
        return address in self

    def see_through(self, environ: dict[str, Any]) -> None:
        """Replaces a trusted proxy's address and scheme in `environ` with the client's.

        `REMOTE_ADDR` becomes the rightmost forwarded address that is not a trusted proxy, and
        `wsgi.url_scheme` the scheme that the nearest proxy reports. The address of the TCP peer is kept under
        `threadchat.peer`. A peer on a Unix socket has no address and counts as this machine. A second call
        does nothing.
        """
        if not self._networks or PEER in environ:
            return
        peer = environ.get("REMOTE_ADDR", "")
        environ[PEER] = peer
        found = _read(peer) if peer else _THIS_MACHINE
        if found is None or not self.contain(found):
            return
        client = self._client(found, environ.get("HTTP_X_FORWARDED_FOR", ""))
        environ["REMOTE_ADDR"] = str(client)
        if client != found:
            environ.pop("REMOTE_PORT", None)  # it belongs to the proxy
        nearest = environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip().lower()
        if nearest in _SCHEMES:
            environ["wsgi.url_scheme"] = environ[SCHEME] = _SCHEMES[nearest]

    def _client(self, peer: Address, forwarded: str) -> Address:
        """Follows `forwarded` from the nearest proxy to the first address that is not trusted, or invalid."""
        client = peer
        for entry in reversed(forwarded.split(",")):
            found = _read(_without_port(entry.strip()))
            if found is None:
                break
            client = found
            if not self.contain(found):
                break
        return client


def plain_address(text: str) -> str:
    """The address of a peer; an IPv4 address mapped to IPv6, as on a dual-stack socket, becomes IPv4."""
    return text[7:] if text.startswith("::ffff:") and "." in text else text


def bare_host(host: str) -> str:
    """Without port, brackets and the dot of the root, in lower case."""
    found = _HOST.fullmatch(host.strip())
    name = found[1] if found else host.strip()
    return name.strip("[]").removesuffix(".").lower()


def is_loopback(name: str) -> bool:
    """Whether it means this machine wherever it is resolved (RFC 6761 section 6.3 for names)."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    found = _read(name)
    return found is not None and found.is_loopback


def _read(text: str) -> Address | None:
    return _parse(text) if len(text) <= _LONGEST else None


@lru_cache(maxsize=1024)  # most requests come from few addresses
def _parse(text: str) -> Address | None:
    try:
        return ip_address(plain_address(text))
    except ValueError:
        return None


def _without_port(text: str) -> str:
    """Removes a port: some proxies forward 192.0.2.1:4711 or [2001:db8::1]:4711."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
