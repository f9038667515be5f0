"""Message keys: one that a client chooses never meets one of the application's."""

from __future__ import annotations

from typing import Final

from threadchat.errors import CommandError, ErrorCode

_CLIENT: Final = "\0"
"""Begins a client's keys, so that none can take one that the application is going to use for its user."""


def client_key(key: str) -> str:
    """What a client's key is in a draft; empty: none."""
    return key and _CLIENT + key


def application_key(key: str) -> str:
    """The application's key, as it is. Raises CommandError 107 where it begins as a client's does."""
    if key.startswith(_CLIENT):
        raise CommandError(ErrorCode.BAD_REQUEST, f"key is {key!r:.60}; it must not begin with a NUL")
    return key
