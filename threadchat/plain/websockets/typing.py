"""Type aliases, by the names of `websockets.typing`."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any, NewType

__all__ = [
    "Data",
    "DataLike",
    "ExtensionName",
    "ExtensionParameter",
    "LoggerLike",
    "Origin",
    "StatusLike",
    "Subprotocol",
]

Data = str | bytes
BytesLike = bytes | bytearray | memoryview
DataLike = str | BytesLike
LoggerLike = logging.Logger | logging.LoggerAdapter[Any]
StatusLike = HTTPStatus | int
Origin = NewType("Origin", str)
Subprotocol = NewType("Subprotocol", str)
ExtensionName = NewType("ExtensionName", str)
ExtensionParameter = tuple[str, str | None]
