"""What the settings that are text may look like."""

from __future__ import annotations

from typing import Final

from threadchat.rules import Text, one_of

HOST: Final = Text(
    r"[\w.-]+|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%[\w.-]+)?",
    "a host name or an address, without port and without brackets",
)
_ORIGIN: Final = r"[a-z][a-z0-9+.-]*://[\w.:\[\]-]+"
ORIGINS: Final = Text(
    rf"(\*|{_ORIGIN}( *, *{_ORIGIN})*)?",
    "*, or origins such as https://example.org with commas between them",
)
CORE: Final = Text(r"off|auto|\d{1,4}", "off, auto, or the number of a core")
PATH: Final = Text(
    r"[^\x00-\x1f\x7f\ud800-\udfff]*", "the path of a file, in UTF-8 without control characters"
)
BROKER: Final = Text(
    r"memory|sqlite:(?!//)[^\x00-\x1f\x7f\ud800-\udfff]+|(rediss?|unix)://[^\x00-\x20\x7f\ud800-\udfff]+",
    "memory, sqlite:chat.db with any path, or redis://host:6379/0 (rediss:// with TLS)",
)
ROUTING: Final = one_of("directory", "router")
LOG_LEVEL: Final = one_of("debug", "info", "warning", "error", "critical")
