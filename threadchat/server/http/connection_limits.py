"""Counts the connections that have a thread, in all and of each address, against the most there may be."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

from threadchat.server.http.proxies import Proxies, plain_address


def counted_as(address: str) -> str:
    """What connections from an address are counted under.

    An IPv6 address counts as its network of 2^64 addresses, all of which one customer has; an IPv4 address
    is itself, in IPv6 clothes too.
    """
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"


class ConnectionLimits:
    """How many connections there are. It has no lock of its own: whoever owns it calls it under theirs.

    `most` in all and `most_of_one` of one address, 0 for any number. Trusted proxies are not counted by
    address: theirs stands for everybody behind them.
    """

    def __init__(self, most: int, most_of_one: int, proxies: Proxies) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._proxies = proxies
        self._of: dict[str, int] = {}
        self.taken = 0

    def counted_as(self, peer: Any) -> str | None:
        """What to count a peer as, which `accept` returned so; None: only in all. Needs no lock."""
        if not self._most_of_one:
            return None
        address = plain_address(peer[0])
        return None if self._proxies.trusts(address) else counted_as(address)

    def take(self, address: str | None) -> bool:
        """Counts one in; False where there is no room."""
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
        """Counts one out that was counted in."""
        self.taken -= 1
        if address is not None:
            self._of[address] -= 1
            if not self._of[address]:
                del self._of[address]
