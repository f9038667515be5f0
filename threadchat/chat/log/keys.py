"""Message keys. The keys of clients and the keys of the application never collide."""

from __future__ import annotations

from typing import Final

from threadchat.errors import CommandError, ErrorCode

_CLIENT: Final = "\0"
"""The prefix of clients' keys, so that a client cannot use up a key that the application will need for its
user.
"""


def client_key(key: str) -> str:
    """A client's key as it is stored in a draft. Empty means no key."""
    return key and _CLIENT + key


def application_key(key: str) -> str:
    """Returns the application's key unchanged.

    Raises CommandError 107 if it has the prefix of clients' keys.
    """
    if key.startswith(_CLIENT):
        raise CommandError(ErrorCode.BAD_REQUEST, f"key is {key!r:.60}; it must not begin with a NUL")
    return key
