"""What both sides agree on for permessage-deflate: reads offers and answers (RFC 7692 5 and 7.1)."""

from __future__ import annotations

from typing import Final, NamedTuple

from threadchat.wire.protocol.deflate import DEFLATERS, Deflater

NAME: Final = "permessage-deflate"
STATELESS: Final = "server_no_context_takeover; client_no_context_takeover"
"""Nobody refers back to an earlier message: so no connection keeps a window, and one compression is good for
all who get a message."""
WISH: Final = f"{STATELESS}; client_max_window_bits"
"""The parameters of a client's offer; the last says that we heed such a limit (7.1.2.2)."""

_SERVER_WINDOW: Final = "server_max_window_bits"
_CLIENT_WINDOW: Final = "client_max_window_bits"
_FLAGS: Final = frozenset(("server_no_context_takeover", "client_no_context_takeover"))
_BITS: Final = frozenset(str(bits) for bits in range(8, 16))
_ANY_WINDOW: Final = "15"


class Agreement(NamedTuple):
    """What holds for a connection."""

    answer: str
    """The value of the server's Sec-WebSocket-Extensions."""
    deflater: Deflater | None
    """What this side compresses with; None where the peer's window is smaller than zlib knows."""
    keeps_window: bool
    """Whether the peer may refer back to its earlier messages."""


def accept_offer(offers: str) -> Agreement | None:
    """A server's answer to the value of a client's Sec-WebSocket-Extensions: the first offer that can be met.

    None where there is none of the kind; one with a parameter that is wrong, unknown or there twice is
    passed over (7.1), and the connection goes without.
    """
    for offer in offers.split(","):
        wishes = _parameters(offer, needs_value=(_SERVER_WINDOW,))
        if wishes is None:
            continue
        deflater = _deflater(wishes.get(_SERVER_WINDOW))
        if deflater is None:
            continue
        answer = f"{NAME}; {STATELESS}"
        if _SERVER_WINDOW in wishes:
            answer += f"; {_SERVER_WINDOW}={deflater.window_bits}"
        return Agreement(answer, deflater, keeps_window=False)
    return None


def judge_answer(answer: str) -> Agreement:
    """What a server's answer to `WISH` comes to. Raises ValueError for one that no offer of ours allows."""
    granted = _parameters(answer, needs_value=(_SERVER_WINDOW, _CLIENT_WINDOW))
    if granted is None:
        raise ValueError(f"{answer!r:.200} is no answer to {NAME}; {WISH}")
    keeps_window = "server_no_context_takeover" not in granted
    return Agreement(answer, _deflater(granted.get(_CLIENT_WINDOW)), keeps_window)


def _deflater(bits: str | None) -> Deflater | None:
    """The best of ours whose window is not larger."""
    most = int(bits or _ANY_WINDOW)
    return next((deflater for deflater in DEFLATERS if deflater.window_bits <= most), None)


def _parameters(element: str, needs_value: tuple[str, ...]) -> dict[str, str | None] | None:
    """The parameters of one permessage-deflate; None where it is another extension, or a wrong one."""
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
