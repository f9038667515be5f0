"""Tests of the file of public keys: what may be in it, and what becomes of it while the server runs."""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.server.token_helpers import jwk, private_key, private_pem, public_pem, write_jwks
from tests.wire.helpers import PATIENCE
from threadchat.errors import BadToken, ConfigError
from threadchat.server.auth.jwks import LARGEST_FILE, KeyFile

FIRST, SECOND = private_key("first"), private_key("second")


def numbers(key: Any) -> Any:
    """What tells one public key from another."""
    return (key if hasattr(key, "n") else key.public_numbers()).n


def member(key: Any, **more: Any) -> dict[str, Any]:
    return jwk(key.public_key(), **more)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def open_keys(path: Path) -> KeyFile:
    return KeyFile(str(path), jwt)


def replace(path: Path, data: bytes) -> None:
    """Puts another file in its place, as a careful program does."""
    other = path.with_suffix(".new")
    other.write_bytes(data)
    os.replace(other, path)


# -- what a file may be ------------------------------------------------------------------------------


def test_one_key_in_pem_is_for_every_token(path: Path) -> None:
    path.write_bytes(public_pem(FIRST))
    keys = open_keys(path)
    assert numbers(keys.find(None)) == numbers(keys.find("any")) == numbers(FIRST.public_key())


def test_several_keys_are_chosen_by_kid(path: Path) -> None:
    keys = open_keys(
        write_jwks(path, member(FIRST, kid="a"), member(SECOND, kid="b", alg="RS256", use="sig"))
    )
    assert numbers(keys.find("b")) == numbers(SECOND.public_key())
    with pytest.raises(BadToken, match="names no key"):
        keys.find(None)
    for unknown in ("c", 7, ["a"], {}):
        with pytest.raises(BadToken, match="not in token_keys"):
            keys.find(unknown)


def test_one_key_needs_no_kid_in_the_token(path: Path) -> None:
    keys = open_keys(write_jwks(path, member(FIRST, kid="a")))
    assert numbers(keys.find(None)) == numbers(keys.find("a"))
    with pytest.raises(BadToken):
        keys.find("b")


def test_keys_for_something_else_are_passed_over(path: Path) -> None:
    others = [
        member(SECOND, kid="e", use="enc"),
        member(SECOND, kid="s", key_ops=["sign"]),
        member(SECOND, kid="p", alg="PS256"),
        {"kty": "oct", "kid": "o", "k": "c2VjcmV0"},
        {"kty": "EC", "kid": "c", "crv": "P-256"},
        "nonsense",
    ]
    keys = open_keys(write_jwks(path, *others, member(FIRST, kid="a", key_ops=["verify"])))
    assert numbers(keys.find(None)) == numbers(FIRST.public_key())


ELLIPTIC = ec.generate_private_key(ec.SECP256R1()).public_key()
BROKEN: list[tuple[bytes, str]] = [
    (b"", "is neither PEM nor a JWKS"),
    (b"{}", "is neither PEM nor a JWKS"),
    (b'{"keys": 7}', "is neither PEM nor a JWKS"),
    (b"[" * 100_000, "is neither PEM nor a JWKS"),
    (b"\xff", "is neither PEM nor a JWKS"),
    (b'{"keys": [{"kty": "RSA", "key_ops": 7}]}', "is neither PEM nor a JWKS"),
    (b'{"keys": []}', "holds no RSA key for signatures"),
    (b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "holds no RSA key for signatures"),
    (b'{"keys": [{"kty": "RSA", "kid": "a"}]}', "holds an invalid RSA key"),
    (b'{"keys": [{"kty": "RSA", "kid": "a", "n": "!", "e": 7}]}', "holds an invalid RSA key"),
    (json.dumps({"keys": [jwk(FIRST, kid="a")]}).encode(), "holds a private key"),
    (json.dumps({"keys": [member(FIRST), member(SECOND)]}).encode(), "each needs a kid of its own"),
    (json.dumps({"keys": [member(FIRST, kid="a"), member(SECOND, kid="a")]}).encode(), "each needs a kid"),
    (json.dumps({"keys": [member(FIRST, kid=7)]}).encode(), "each needs a kid"),
    (private_pem(FIRST), "holds a private key"),
    (public_pem(FIRST) + public_pem(SECOND), "holds several PEM keys"),
    (b"-----BEGIN PUBLIC KEY-----\nnonsense\n-----END PUBLIC KEY-----\n", "holds no public key"),
    (ELLIPTIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "is not RSA"),
    (public_pem(private_key("short", 1024)), "holds a key of 1024 bits; RS256 needs 2048"),
    (b" " * (LARGEST_FILE + 1), "is not a file of keys"),
]


@pytest.mark.parametrize(("data", "message"), BROKEN)
def test_a_file_without_keys_is_refused_at_the_start(path: Path, data: bytes, message: str) -> None:
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        open_keys(path)
    assert str(caught.value).startswith(f"token_keys: {path} ")
    assert message in str(caught.value)


def test_a_file_that_is_not_there_is_refused_at_the_start(path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        open_keys(path)


# -- while the server runs ---------------------------------------------------------------------------


def test_keys_are_rotated_by_another_file(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    keys = open_keys(write_jwks(path, member(FIRST, kid="a")))
    replace(path, json.dumps({"keys": [member(FIRST, kid="a"), member(SECOND, kid="b")]}).encode())
    assert numbers(keys.find("b")) == numbers(SECOND.public_key())
    replace(path, json.dumps({"keys": [member(SECOND, kid="b")]}).encode())
    with pytest.raises(BadToken):
        keys.find("a")
    assert [record.getMessage() for record in caplog.records] == [
        f"token_keys: read 2 from {path}",
        f"token_keys: read 1 from {path}",
    ]


def test_a_broken_file_keeps_the_old_keys_and_is_said_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(public_pem(FIRST))
    keys = open_keys(path)
    for change in (lambda: replace(path, b"half of a file"), path.unlink):
        change()
        caplog.clear()
        for _ in range(3):
            assert numbers(keys.find(None)) == numbers(FIRST.public_key())
        [record] = caplog.records
        assert record.levelno == logging.ERROR
        assert "the keys for tokens were not replaced: token_keys:" in record.getMessage()
    replace(path, public_pem(SECOND))
    assert numbers(keys.find(None)) == numbers(SECOND.public_key())


class Meeting:
    """A lock that is taken only once two threads want it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._both = threading.Barrier(2)

    def __enter__(self) -> None:
        self._both.wait(PATIENCE)
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_two_threads_read_a_changed_file_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(public_pem(FIRST))
    keys = open_keys(path)
    replace(path, public_pem(SECOND))
    read, reads = keys._read, []
    monkeypatch.setattr(keys, "_read", lambda: (reads.append(1), read())[1])
    monkeypatch.setattr(keys, "_lock", Meeting())
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(keys.find(None))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert [numbers(key) for key in found] == [numbers(SECOND.public_key())] * 2
    assert len(reads) == 1
