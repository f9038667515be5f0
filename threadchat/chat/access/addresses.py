"""Addresses and networks in the form in which sanctions name them, and which contains which."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from typing import Final

from threadchat.errors import CommandError, ErrorCode

_ZONE: Final = re.compile("%[^/]*")  # an IPv6 zone: names a network interface of this machine, not the peer


def spelled(address: str) -> str:
    """Returns the canonical form of an address or a network.

    `192.0.2.7/24` becomes `192.0.2.0/24`, `::ffff:192.0.2.7` becomes `192.0.2.7`, and `fe80::1%eth0` becomes
    `fe80::1`. Raises CommandError 107 if it is neither an address nor a network.
    """
    try:
        network = ipaddress.ip_network(_ZONE.sub("", address.strip()), strict=False)
    except ValueError:
        reason = f"address is {address!r:.60}; use one such as 192.0.2.7, or a network such as 192.0.2.0/24"
        raise CommandError(ErrorCode.BAD_REQUEST, reason) from None
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        network = ipaddress.ip_network((mapped, network.prefixlen - 96))
    return _spell(network)


def neighbourhood(address: str) -> str:
    """What to ban against a peer with this address: it, or for IPv6 its /64, all of which one host has."""
    alone = spelled(address)
    return spelled(f"{alone}/64") if ":" in alone and "/" not in alone else alone


def within(address: str, network: str) -> bool:
    """Whether an address is in a network or equals an address. Both may be empty or invalid."""
    return network in spellings(address, (length(network),))


def _spell(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    alone = network.prefixlen == network.max_prefixlen
    return str(network.network_address if alone else network)


def length(address: str) -> tuple[int, int]:
    """IP version and prefix length of an address or network in canonical form."""
    network = ipaddress.ip_network(address)
    return network.version, network.prefixlen


def spellings(address: str, lengths: Iterable[tuple[int, int]]) -> Iterator[str]:
    """The address itself and the networks of these prefix lengths that contain it.

    Nothing if it is no address.
    """
    try:
        alone = ipaddress.ip_network(spelled(address))
    except CommandError:  # for example the path of a unix socket
        return
    for version, length in lengths:
        if version == alone.version and length <= alone.prefixlen:
            yield _spell(alone.supernet(new_prefix=length))
