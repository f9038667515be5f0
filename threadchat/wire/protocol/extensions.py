"""Negotiates permessage-deflate: reads offers and answers (RFC 7692 5 and 7.1)."""

from __future__ import annotations

from typing import Final, NamedTuple

from threadchat.wire.protocol.deflate import DEFLATERS, Deflater

NAME: Final = "permessage-deflate"
STATELESS: Final = "server_no_context_takeover; client_no_context_takeover"
"""No message refers back to an earlier one. So no connection keeps a window in memory, and one compressed
message serves all its receivers."""
OFFER: Final = f"{STATELESS}; client_max_window_bits"
"""The parameters of a client's offer; the last allows the server to limit our window (7.1.2.2)."""

_SERVER_WINDOW: Final = "server_max_window_bits"
_CLIENT_WINDOW: Final = "client_max_window_bits"
_FLAGS: Final = frozenset(("server_no_context_takeover", "client_no_context_takeover"))
_BITS: Final = frozenset(str(bits) for bits in range(8, 16))
_ANY_WINDOW: Final = "15"


class Agreement(NamedTuple):
    """The result of the negotiation for one connection."""

    answer: str
    """The value of the server's Sec-WebSocket-Extensions."""
    deflater: Deflater | None
    """Compresses our messages; None if the peer's window is smaller than zlib supports."""
    keeps_window: bool
    """Whether the peer's messages may refer back to its earlier ones."""


def accept_offer(offers: str) -> Agreement | None:
    """Accepts the first acceptable offer in the value of a client's Sec-WebSocket-Extensions.

    Returns None if there is none. An offer with an invalid, unknown or repeated parameter is skipped (7.1).
    """
    for offer in offers.split(","):
        requested = _parameters(offer, needs_value=(_SERVER_WINDOW,))
        if requested is None:
            continue
        deflater = _deflater(requested.get(_SERVER_WINDOW))
        if deflater is None:
            continue
        answer = f"{NAME}; {STATELESS}"
        if _SERVER_WINDOW in requested:
            answer += f"; {_SERVER_WINDOW}={deflater.window_bits}"
        return Agreement(answer, deflater, keeps_window=False)
    return None


def read_answer(answer: str) -> Agreement:
    """Reads a server's answer to `OFFER`. Raises ValueError if our offer does not allow the answer."""
    granted = _parameters(answer, needs_value=(_SERVER_WINDOW, _CLIENT_WINDOW))
    if granted is None:
        raise ValueError(f"{answer!r:.200} is not a valid answer to {NAME}; {OFFER}")
    keeps_window = "server_no_context_takeover" not in granted
    return Agreement(answer, _deflater(granted.get(_CLIENT_WINDOW)), keeps_window)


def _deflater(bits: str | None) -> Deflater | None:
    """Returns our deflater with the largest window of at most `bits`, or None."""
    most = int(bits or _ANY_WINDOW)
    return next((deflater for deflater in DEFLATERS if deflater.window_bits <= most), None)


def _parameters(element: str, needs_value: tuple[str, ...]) -> dict[str, str | None] | None:
    """Returns the parameters of permessage-deflate; None for another extension or invalid parameters."""
    name, *parameters = element.split(";")
    if name.strip(" \t") != NAME:
        return None
    found: dict[str, str | None] = {}
    for parameter in parameters:
        key, equals, text = (part.strip(" \t") for part in parameter.partition("="))
        value = (text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text) if equals else None
        if key in found or not _is_legal(key, value, needs_value):
            return None
        found[key] = value
    return found


def _is_legal(key: str, value: str | None, needs_value: tuple[str, ...]) -> bool:
    if key in _FLAGS:
        return value is None
    if key not in (_SERVER_WINDOW, _CLIENT_WINDOW):
        return False
    return value in _BITS or (value is None and key not in needs_value)
