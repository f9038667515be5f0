"""The public keys that verify tokens: read from a file, and read again when the file changes."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from threadchat.errors import BadToken, ConfigError
from threadchat.wire.threads.forking import begin_anew_after_fork

if TYPE_CHECKING:
    from types import ModuleType

log = logging.getLogger(__name__)

SMALLEST_KEY: Final = 2048
"""Bits, as RFC 7518 section 3.3 requires."""
LARGEST_FILE: Final = 1024 * 1024
"""Bytes. A file of keys has a few thousand."""

Stamp = tuple[int, ...]
Keys = Mapping[str | None, Any]


class KeyFile:
    """Public RSA keys by their `kid`, from a JWKS (RFC 7517) or a single PEM key.

    `_lock` guards reading the file. The mapping of keys is replaced as a whole, so a lookup needs no lock.
    Every method may be called from any thread.
    """

    def __init__(self, path: str, jwt: ModuleType) -> None:
        """`jwt` is the module of PyJWT. Raises ConfigError if no key can be read."""
        self._path = Path(path)
        self._jwt = jwt
        self._lock = threading.Lock()
        self._stamp = self._look()
        self._keys = self._read()
        begin_anew_after_fork(self)

    def leave_behind(self) -> None:
        """Keeps the keys and replaces the lock. Runs on: the only thread of a forked process, first."""
        self._lock = threading.Lock()

    def find(self, kid: Any) -> Any:
        """The key that a token's header names. Reads the file first if it changed. Raises BadToken."""
        if self._look() != self._stamp:
            self.reload(only_changed=True)
        keys = self._keys
        if len(keys) == 1 and (kid is None or None in keys):
            return next(iter(keys.values()))
        if kid is None:
            raise BadToken("its header names no key (kid), and there are several")
        key = keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise BadToken("its header names a key (kid) that is not in token_keys")
        return key

    def reload(self, *, only_changed: bool = False) -> None:
        """Reads the file. If it is invalid, the old keys stay and the error is logged."""
        with self._lock:
            stamp = self._look()
            if only_changed and stamp == self._stamp:
                return  # another thread has just read it
            try:
                self._keys = self._read()
            except ConfigError as error:
                log.error("the keys for tokens were not replaced: %s", error)
            else:
                log.info("token_keys: read %d from %s", len(self._keys), self._path)
            self._stamp = stamp  # an invalid file is read only once until it changes again

    def _look(self) -> Stamp:
        """Identifies the version of the file; empty if there is no file."""
        try:
            found = os.stat(self._path)
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino

    def _read(self) -> Keys:
        try:
            with self._path.open("rb") as file:
                data = file.read(LARGEST_FILE + 1)
        except OSError as error:
            raise self._wrong(f"cannot be read: {error.strerror}") from None
        if len(data) > LARGEST_FILE:
            raise self._wrong(f"has more than {LARGEST_FILE} bytes, and is not a file of keys")
        return self._from_pem(data) if b"-----BEGIN" in data else self._from_jwks(data)

    def _from_pem(self, data: bytes) -> Keys:
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        if b"PRIVATE KEY-----" in data:
            raise self._wrong("holds a private key; the server must have the public key only")
        if data.count(b"-----BEGIN") > 1:
            raise self._wrong("holds several PEM keys; put several keys into a JWKS, each with a kid")
        try:
            key = load_pem_public_key(data)
        except Exception as error:  # ValueError, or an exception of cryptography's own
            raise self._wrong(f"holds no public key: {type(error).__name__}") from None
        return {None: self._check(key)}

    def _from_jwks(self, data: bytes) -> Keys:
        try:
            found = json.loads(data)["keys"]
            private = any("d" in member for member in found if isinstance(member, dict))
            members = [member for member in found if _is_for_us(member)]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise self._wrong('is neither PEM nor a JWKS, which is {"keys": [{"kty": "RSA", …}]}') from None
        if private:
            raise self._wrong("holds a private key; the server must have public keys only")
        if not members:
            raise self._wrong("holds no RSA key for signatures; RS256 needs one")
        keys: dict[str | None, Any] = {}
        for member in members:
            kid = member.get("kid")
            if kid in keys or not isinstance(kid, str | None) or (kid is None and len(members) > 1):
                raise self._wrong("holds several keys; each needs a kid of its own")
            try:
                keys[kid] = self._check(self._jwt.PyJWK(member, "RS256").key)
            except (self._jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
                raise self._wrong(f"holds an invalid RSA key: {type(error).__name__}") from None
        return keys

    def _check(self, key: Any) -> Any:
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

        if not isinstance(key, RSAPublicKey):
            raise self._wrong("holds a key that is not RSA; RS256 needs that")
        if key.key_size < SMALLEST_KEY:
            raise self._wrong(f"holds a key of {key.key_size} bits; RS256 needs {SMALLEST_KEY}")
        return key

    def _wrong(self, what: str) -> ConfigError:
        return ConfigError(f"token_keys: {self._path} {what}")


def _is_for_us(member: Any) -> bool:
    """Whether a JWK can verify RS256. A set may hold keys for other purposes."""
    return (
        isinstance(member, dict)
        and member.get("kty") == "RSA"
        and member.get("use", "sig") == "sig"
        and member.get("alg", "RS256") == "RS256"
        and "verify" in member.get("key_ops", ["verify"])
    )
