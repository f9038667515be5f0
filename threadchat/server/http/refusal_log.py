"""Logs which requests were refused and why, for the operator of the server and its proxies."""

from __future__ import annotations

import logging
from typing import Any, Final

from threadchat.logs.rate_limit import LogRateLimit

log = logging.getLogger(__name__)
log.addFilter(LogRateLimit())

_MOST: Final = 120
"""Characters of each value from a stranger that are logged."""


def log_refusal(environ: dict[str, Any], status: str, reason: str, what: str = "a WebSocket") -> None:
    """Logs one line, or none if there were too many already. Runs on: the request's thread.

    The line contains neither the query nor the subprotocols, because both may contain a token.
    """
    log.info(
        "%s was refused (%s): %s path %s, Origin %s, Host %s, from %s",
        what,
        status,
        _shown(reason, 2 * _MOST),
        _quoted(environ, "PATH_INFO"),
        _quoted(environ, "HTTP_ORIGIN"),
        _quoted(environ, "HTTP_HOST"),
        _shown(environ.get("REMOTE_ADDR") or "-"),
    )


def _quoted(environ: dict[str, Any], name: str) -> str:
    value = environ.get(name)
    return "-" if value is None else f"'{_shown(value)}'"


def _shown(value: object, most: int = _MOST) -> str:
    """The value as short ASCII text on one line: line ends and escape sequences are escaped."""
    text = str(value)
    shown = text[:most].encode("unicode_escape").decode("ascii")
    return shown if len(text) <= most else f"{shown}..."
