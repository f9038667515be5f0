"""What tests of tokens share: keys, files of them, and tokens that are right or wrong in one way."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

SECRET = "a-secret-that-is-long-enough-0123456789"
NOW = 1_790_000_000.0


class Wall:
    """Unix time that a test sets."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@cache
def private_key(name: str = "first", bits: int = 2048) -> rsa.RSAPrivateKey:
    """The key of that name, made once."""
    return rsa.generate_private_key(65537, bits)


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def jwk(key: Any, **more: Any) -> dict[str, Any]:
    """A public key as a member of a JWKS."""
    return {**jwt.algorithms.RSAAlgorithm.to_jwk(key, as_dict=True), **more}


def write_jwks(path: Path, *members: Any) -> Path:
    path.write_text(json.dumps({"keys": list(members)}))
    return path


def token(key: Any = SECRET, algorithm: str = "HS256", kid: str | None = None, **claims: Any) -> str:
    """A token for user 7 that is good for an hour from NOW; a claim that is None is left out."""
    said = {"sub": "7", "exp": NOW + 3600, **claims}
    said = {name: value for name, value in said.items() if value is not None}
    headers = None if kid is None else {"kid": kid}
    return jwt.PyJWS().encode(json.dumps(said).encode(), key, algorithm, headers)


def part(value: Any) -> bytes:
    """One of the three parts of a token."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def forged(header: Any, claims: Any, key: bytes = b"") -> str:
    """A token with any header, its HMAC made with any bytes: libraries refuse to make some of these."""
    signed = part(header) + b"." + part(claims)
    return (signed + b"." + part(hmac.digest(key, signed, hashlib.sha256))).decode()
