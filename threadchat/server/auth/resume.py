"""Resume tokens: signed proof of an identity, with which a client returns as the same person on any node."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final

import msgspec

from threadchat.chat.log.events import UserId

RESUME_TTL: Final = 24 * 3600.0
"""Seconds for which a client may return as the same person."""
_MAX_TOKEN: Final = 2048


class Identity(msgspec.Struct, frozen=True, array_like=True):
    """The content of a token. `expiry` and `proven` are Unix time, in seconds.

    `proven` is when it was first proven who this is; 0 if that is unknown. A token that is issued to somebody
    who came back with one has the time of the first one, so that a revocation ends all of them.
    """

    user: UserId
    nickname: str
    expiry: float
    proven: float = 0.0

    @property
    def issued(self) -> float:
        """The time that revocations go by: `proven`, or when the token was issued."""
        return self.proven or self.expiry - RESUME_TTL


def issue(key: bytes, user: UserId, nickname: str, now: float, proven: float = 0.0) -> str:
    """A token for `user`, valid for `RESUME_TTL` from `now` (Unix time); see Identity for `proven`."""
    payload = msgspec.json.encode(Identity(user, nickname, now + RESUME_TTL, proven))
    return _encode(payload) + "." + _encode(_sign(key, payload))


def verify(key: bytes, token: str, now: float) -> Identity | None:
    """The content of a token; None if it is expired, or not signed with this key."""
    payload_part, _, signature_part = token[:_MAX_TOKEN].partition(".")
    try:
        payload, signature = _decode(payload_part), _decode(signature_part)
    except ValueError:
        return None
    if not hmac.compare_digest(signature, _sign(key, payload)):
        return None
    identity = msgspec.json.decode(payload, type=Identity)
    return identity if identity.expiry > now else None


def _sign(key: bytes, payload: bytes) -> bytes:
    return hmac.digest(key, payload, hashlib.sha256)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
