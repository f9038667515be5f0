"""Rules for the settings whose values are text."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any, Final

from threadchat.config.values import Address, Secret, Text, one_of


@dataclass(frozen=True, slots=True)
class Networks(Text):
    """A list of IP networks, separated by commas."""

    def allows(self, value: Any) -> bool:
        # Not super(): slots=True creates the class a second time, and a bare super() refers to the first one.
        return Text.allows(self, value) and all(map(_is_network, filter(None, value.split(","))))


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text.strip())
    except ValueError:
        return False
    return True


HOST: Final = Text(
    r"[\w.-]+|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%[\w.-]+)?",
    "a host name or an address, without a port and without brackets",
)
_ASKED: Final = r"(?:\*\.)?[\w.-]+|\[?[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]?"
HOSTS: Final = Text(
    rf"(\*|(?:{_ASKED})( *, *(?:{_ASKED}))*)?",
    "*, or names such as chat.example.org or *.example.org, separated by commas, without ports",
)
_ORIGIN: Final = r"(?:null|[a-z][a-z0-9+.-]*://[\w.:\[\]-]+)"
ORIGINS: Final = Text(
    rf"(\*|{_ORIGIN}( *, *{_ORIGIN})*)?",
    "*, or origins such as https://example.org or null, separated by commas",
)
_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
SUBPROTOCOLS: Final = Text(
    rf"({_NAME}( *, *{_NAME})*)?",
    "names such as chat.v1, of letters, digits and dashes, separated by commas",
)
_NETWORK: Final = r"[0-9A-Fa-f.:]+(/\d{1,3})?"
NETWORKS: Final = Networks(
    rf"({_NETWORK}( *, *{_NETWORK})*)?",
    "addresses or networks such as 10.0.0.0/8, separated by commas",
)
CORE: Final = Text(r"off|auto|\d{1,4}", "off, auto, or the number of a core")
PATH: Final = Text(
    r"[^\x00-\x1f\x7f\ud800-\udfff]*", "the path of a file, in UTF-8, without control characters"
)
REDIS_SCHEMES: Final = (
    "redis",
    "rediss",
    "unix",
    "redis-sentinel",
    "rediss-sentinel",
    "redis-cluster",
    "rediss-cluster",
)
"""Those of a URL of Redis: one server, the master that Sentinel names, or a cluster; rediss is with TLS."""
BROKER: Final = Address(
    r"memory|sqlite:(?!//)[^\x00-\x1f\x7f\ud800-\udfff]+"
    r"|((rediss?(-sentinel|-cluster)?)|unix)://[^\x00-\x20\x7f\ud800-\udfff]+",
    "memory, sqlite:chat.db with any path, redis://host:6379/0, redis-sentinel://host:26379/service "
    "or redis-cluster://host:6379 (rediss for TLS)",
)
ROUTING: Final = one_of("directory", "router")
CREATE_ROOMS: Final = one_of("yes", "known", "no")
LOG_LEVEL: Final = one_of("debug", "info", "warning", "error", "critical")
TOKEN_KEY: Final = Secret(
    r"|[!-~]{32,1000}", "at least 32 printable ASCII characters that are hard to guess, or file:PATH"
)
API_KEY: Final = Secret(
    r"|[!-~]{16,1000}", "at least 16 printable ASCII characters that are hard to guess, or file:PATH"
)
LOG_FORMAT: Final = one_of("text", "json")
METRICS: Final = one_of("off", "key", "open")
WORD: Final = Text(r"[!-~]{0,200}", "a word of printable ASCII")
TITLE: Final = Text(
    r"[^\x00-\x1f\x7f\ud800-\udfff]{0,60}", "at most 60 characters, none of them a control character"
)
COLOR: Final = Text(r"(#[0-9A-Fa-f]{6})?", "a color such as #2d6a5f")
LOGO: Final = Text(
    r"((https://[\w.:\[\]-]+)?/[\w./~%+@-]*)?",
    "the path of an image on this host, such as /logo.svg, or its https:// URL",
)
ROOMS: Final = Text(
    r"[^\x00-\x1f\x7f\ud800-\udfff]{0,2000}",
    "names of rooms, separated by commas, without control characters",
)
FRAMES: Final = Text(
    r"(\*|self|(?:self|https?://[\w.:*\[\]-]+)( *, *(?:self|https?://[\w.:*\[\]-]+))*)?",
    "*, or self and origins such as https://example.org, separated by commas",
)
