"""Counts the connections that have a thread, in total and for each address, and enforces their limits."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any, Final

from threadchat.server.http.proxies import Proxies, plain_address

SITE: Final = 48
"""The prefix length of the IPv6 networks that many providers give to one customer."""


def counted_as(address: str) -> str:
    """The key under which connections from an address are counted.

    For IPv6, this is the /64 network, because one customer usually has a whole one. For IPv4, also if it is
    mapped to IPv6, it is the IPv4 address itself.
    """
    return networks_of(address)[0]


def networks_of(address: str) -> tuple[str, ...]:
    """What `counted_as` returns, and for IPv6 also the /48 network, all of which one customer may have."""
    if ":" not in address:
        return (address,)
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except ValueError:
        return (address,)
    if parsed.ipv4_mapped is not None:
        return (str(parsed.ipv4_mapped),)
    return tuple(f"{IPv6Address(int(parsed) >> (128 - n) << (128 - n))}/{n}" for n in (64, SITE))


class ConnectionLimits:
    """Counts connections. It has no lock of its own: its owner calls it while holding one.

    `most` limits the total and `most_of_one` the connections of one address; 0 means no limit. Connections
    from trusted proxies are not counted by address, because many people share such an address.
    """

    def __init__(self, most: int, most_of_one: int, proxies: Proxies) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._proxies = proxies
        self._of: dict[str, int] = {}
        self.taken = 0

    def counted_as(self, peer: Any) -> str | None:
        """The key for a peer as returned by `accept`; None if it counts only in the total. Needs no lock."""
        if not self._most_of_one:
            return None
        address = plain_address(peer[0])
        return None if self._proxies.trusts(address) else counted_as(address)

    def take(self, address: str | None) -> bool:
        """Counts a new connection; False if a limit is reached."""
        if 0 < self._most <= self.taken:
            return False
        if address is not None:
            of_this = self._of.get(address, 0)
            if of_this >= self._most_of_one:
                return False
            self._of[address] = of_this + 1
        self.taken += 1
        return True

    def give_back(self, address: str | None) -> None:
        """Uncounts a connection that has ended."""
        self.taken -= 1
        if address is not None:
            self._of[address] -= 1
            if not self._of[address]:
                del self._of[address]
