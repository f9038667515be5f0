"""The headers of a handshake, by the names of `websockets.datastructures`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from threadchat.plain.http import Headers
from threadchat.plain.websockets.exceptions import MultipleValuesError

__all__ = ["Headers", "HeadersLike", "MultipleValuesError"]

HeadersLike = Headers | Mapping[str, str] | Iterable[tuple[str, str]]
