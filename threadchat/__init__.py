"""A WebSocket chat server and a synchronous library, on threads."""

from __future__ import annotations

__version__ = "0.1.0"
