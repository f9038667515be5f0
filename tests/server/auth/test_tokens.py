"""Tests of tokens: whose they say one is, and every way in which one is no good."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.server.token_helpers import (
    NOW,
    SECRET,
    Wall,
    forged,
    jwk,
    part,
    private_key,
    public_pem,
    token,
    write_jwks,
)
from threadchat.chat.log.ids import LARGEST_ID
from threadchat.config.settings import Config
from threadchat.errors import BadToken, ConfigError
from threadchat.server.auth import tokens as module
from threadchat.server.auth.tokens import LEEWAY, MAX_HEADER, MAX_TOKEN, Tokens, sign
from threadchat.server.auth.users import User

CLAIMS = {"sub": "7", "exp": NOW + 3600}


def checking(clock: Wall | None = None, **settings: Any) -> Tokens:
    return Tokens(Config(**{"token_key": SECRET, **settings}), clock=clock or Wall())


def why_not(text: str, **settings: Any) -> str:
    """Why a token is refused."""
    with pytest.raises(BadToken) as caught:
        checking(**settings).verify(text)
    return str(caught.value)


# -- what one says -----------------------------------------------------------------------------------


def test_a_token_says_who_and_how_long() -> None:
    assert checking().verify(token())[:3] == (User(7, ""), NOW + 3600, None)


@pytest.mark.parametrize("sub", ["7", 7])
def test_a_sub_is_a_number_or_the_text_of_one(sub: Any) -> None:
    assert checking().verify(token(sub=sub, nickname=" ann ")).user == User(7, "ann")


@pytest.mark.parametrize("sub", ["ann", "auth0|5f7c", "3f2b7c1e-0000-4000-8000-000000000000", "1" * 21, "7a"])
def test_any_other_text_is_an_id_as_it_is(sub: str) -> None:
    assert checking().verify(token(sub=sub)).user == User(sub)


@pytest.mark.parametrize(
    "sub", ["", "0", "07", "-7", "7.0", " 7", "٧", 0, -1, 7.5, True, [7], LARGEST_ID + 1, "a\nb", "x" * 129]
)
def test_a_sub_that_is_no_id_is_refused(sub: Any) -> None:
    """A number in a spelling of its own is neither the integer nor a text: 07 is nobody."""
    assert f"an integer from 1 to {LARGEST_ID}, or text" in why_not(token(sub=sub))


@pytest.mark.parametrize("nickname", [7, "n" * 65, "half \ud83d", ["ann"]])
def test_a_nickname_is_text_of_some_length(nickname: Any) -> None:
    assert "the nickname of user 7" in why_not(token(nickname=nickname))


@pytest.mark.parametrize("rooms", ["lobby", 7, {"lobby": 7}, {"lobby": "x"}, [7]])
def test_rooms_that_nobody_understands_are_refused(rooms: Any) -> None:
    assert "its rooms" in why_not(token(rooms=rooms))


def test_rooms_are_permissions() -> None:
    permissions = checking().verify(token(rooms={"lobby": "r"})).permissions
    assert permissions is not None
    assert permissions.allow("r", "lobby")
    assert not permissions.allow("w", "lobby")


# -- time --------------------------------------------------------------------------------------------


def test_a_token_expires_on_time() -> None:
    wall = Wall()
    tokens = checking(wall)
    shown = tokens.verify(token(exp=NOW + 5))
    assert tokens.remaining(shown) == 5
    wall.now = NOW + 4.5
    tokens.verify(token(exp=NOW + 5))
    wall.now = NOW + 5
    with pytest.raises(BadToken, match="it has expired"):
        tokens.verify(token(exp=NOW + 5))
    assert tokens.remaining(shown) == 0


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_a_token_of_the_future_does_not_hold_yet_but_clocks_may_differ(name: str) -> None:
    checking().verify(token(**{name: NOW + LEEWAY}))
    assert why_not(token(**{name: NOW + LEEWAY + 1})) == f"it is not valid yet ({name})"


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["tomorrow", True, [1], {}, float("nan"), float("inf"), 1e300, 10**40])
def test_a_time_is_a_number_of_seconds(name: str, value: Any) -> None:
    assert why_not(token(**{name: value})) == f"its claim {name} is not a time in seconds since 1970"


@pytest.mark.parametrize("name", ["exp", "sub"])
def test_what_is_required(name: str) -> None:
    assert why_not(token(**{name: None})) == f"its claim {name} is missing"


# -- audience, issuer --------------------------------------------------------------------------------


def test_an_audience_is_checked_where_there_is_one() -> None:
    checking(token_audience="chat").verify(token(aud=["shop", "chat"]))
    assert "audience" in why_not(token(aud="shop"), token_audience="chat")
    assert why_not(token(), token_audience="chat") == "its claim aud is missing"
    assert "audience" in why_not(token(aud="shop"))  # meant for somebody else, RFC 7519 section 4.1.3


def test_an_issuer_is_checked_where_there_is_one() -> None:
    checking().verify(token(iss="anybody"))
    checking(token_issuer="shop").verify(token(iss="shop"))
    assert "issuer" in why_not(token(iss="shopping"), token_issuer="shop")
    assert "issuer" in why_not(token(iss="sho"), token_issuer="shop")
    assert why_not(token(), token_issuer="shop") == "its claim iss is missing"


# -- signatures --------------------------------------------------------------------------------------


@pytest.fixture
def rsa_file(tmp_path: Path) -> str:
    path = tmp_path / "key.pem"
    path.write_bytes(public_pem(private_key()))
    return str(path)


def test_another_key_is_no_key() -> None:
    assert why_not(token(SECRET[::-1])) == "its signature does not match this server's key"


def test_rs256_with_a_file_of_one_key(rsa_file: str) -> None:
    tokens = Tokens(Config(token_keys=rsa_file), clock=Wall())
    assert tokens.verify(token(private_key(), "RS256")).user.id == 7
    with pytest.raises(BadToken, match="signature"):
        tokens.verify(token(private_key("second"), "RS256"))


def test_both_kinds_side_by_side(rsa_file: str) -> None:
    tokens = checking(token_keys=rsa_file)
    assert tokens.verify(token()).user == tokens.verify(token(private_key(), "RS256")).user


def test_a_public_key_checks_no_hmac(rsa_file: str, tmp_path: Path) -> None:
    """The classic confusion: what everybody may know would be the secret."""
    public = Path(rsa_file).read_bytes()
    for settings in ({"token_keys": rsa_file}, {"token_keys": rsa_file, "token_key": SECRET}):
        tokens = Tokens(Config(**settings), clock=Wall())
        for secret in (public, public.strip(), b""):
            with pytest.raises(BadToken):
                tokens.verify(forged({"alg": "HS256"}, CLAIMS, secret))
    modulus = jwk(private_key().public_key(), kid="a")
    file = write_jwks(tmp_path / "jwks", modulus)
    with pytest.raises(BadToken, match="not signed with RS256"):
        Tokens(Config(token_keys=str(file)), clock=Wall()).verify(
            forged({"alg": "HS256", "kid": "a"}, CLAIMS, json.dumps(modulus).encode())
        )


def test_a_secret_checks_no_rsa() -> None:
    assert why_not(token(private_key(), "RS256")) == "it is not signed with HS256"


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "", None, 7, ["HS256"], "HS384", "hs256", "ES256"]
)
def test_no_other_algorithm(algorithm: Any, rsa_file: str) -> None:
    for text in (
        forged({"alg": algorithm}, CLAIMS, SECRET.encode()),
        (part({"alg": algorithm}) + b"." + part(CLAIMS) + b".").decode(),
    ):
        assert why_not(text) == "it is not signed with HS256"
        assert why_not(text, token_keys=rsa_file) == "it is not signed with HS256 or RS256"


def test_a_key_in_the_header_is_not_used() -> None:
    mine = jwk(private_key("second").public_key(), kid="mine")
    text = jwt.encode(CLAIMS, private_key("second"), "RS256", headers={"jwk": mine, "kid": "mine"})
    assert why_not(text) == "it is not signed with HS256"


def test_what_is_critical_is_not_ignored() -> None:
    why_not(forged({"alg": "HS256", "crit": ["b64"], "b64": False}, CLAIMS, SECRET.encode()))
    why_not(forged({"alg": "HS256", "crit": ["new"], "new": 1}, CLAIMS, SECRET.encode()))


NONSENSE = [
    "",
    ".",
    "..",
    "x",
    "a.b.c",
    "a.b.c.d.e",
    "ä.ö.ü",
    "\x00",
    "half \ud83d",
    token() + ".",
    token()[:-3],
    token().replace(".", "", 1),
    forged([], CLAIMS, SECRET.encode()),
    forged(b"{", CLAIMS, SECRET.encode()),
    forged({"alg": "HS256"}, [], SECRET.encode()),
    forged({"alg": "HS256"}, b"\xff", SECRET.encode()),
    forged({"alg": "HS256"}, 7, SECRET.encode()),
    forged({"alg": "HS256", "kid": 7}, CLAIMS, SECRET.encode()),
    forged({"alg": "HS256"}, b"[" * 5000, SECRET.encode()),
    forged(b'{"a":' * 1000, CLAIMS, SECRET.encode()),
]


@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_is_refused_and_not_repeated(text: str, rsa_file: str) -> None:
    why = why_not(text, token_keys=rsa_file)
    assert not any(len(piece) > 3 and piece in why for piece in text.split("."))


def test_a_long_token_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = token(filler="x" * 5800)
    assert 7800 < len(fits) <= MAX_TOKEN
    assert checking().verify(fits).user.id == 7
    tokens = checking()
    monkeypatch.setattr(jwt, "get_unverified_header", lambda text: pytest.fail("it was read"))
    with pytest.raises(BadToken, match="longer than 8192 characters"):
        tokens.verify("x" * (MAX_TOKEN + 1))


def test_a_long_header_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a stranger's making, and nested as deep as it is long."""
    fits = token(kid="k" * 1400)
    assert 1800 < len(fits.partition(".")[0]) <= MAX_HEADER
    assert checking().verify(fits).user.id == 7
    tokens = checking()
    monkeypatch.setattr(jwt, "get_unverified_header", lambda text: pytest.fail("it was read"))
    with pytest.raises(BadToken, match="its header is longer than 2048 characters"):
        tokens.verify(f"{'W' * (MAX_HEADER + 1)}.e30.x")


# -- settings ----------------------------------------------------------------------------------------


def test_without_keys_there_are_no_tokens() -> None:
    assert Tokens.of(Config()) is None
    assert Tokens.of(Config(token_key=SECRET)) is not None


@pytest.mark.parametrize(
    ("missing", "settings", "message"),
    [
        ("jwt", {"token_key": SECRET}, "token_key needs PyJWT: pip install 'threadchat[auth]'"),
        (
            "cryptography",
            {"token_keys": "k"},
            "token_keys needs cryptography: pip install 'threadchat[auth]'",
        ),
    ],
)
def test_a_missing_library_is_named(
    monkeypatch: pytest.MonkeyPatch, missing: str, settings: dict[str, Any], message: str
) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=missing)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError) as caught:
        Tokens(Config(**settings))
    assert str(caught.value) == message


def test_keys_are_read_again_on_request(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(public_pem(private_key()))
    tokens = Tokens(Config(token_keys=str(path)), clock=Wall())
    path.write_bytes(public_pem(private_key("second")))
    tokens.reload()
    assert tokens.verify(token(private_key("second"), "RS256")).user.id == 7
    checking().reload()  # there is no file, and nothing to do


# -- signing -----------------------------------------------------------------------------------------


def test_what_is_signed_is_good() -> None:
    config = Config(token_key=SECRET, token_audience="chat", token_issuer="shop")
    text = sign(config, 7, "ann", {"lobby": "rw"}, seconds=60, now=NOW)
    shown = Tokens(config, clock=Wall()).verify(text)
    assert (shown.user, shown.expires) == (User(7, "ann"), NOW + 60)
    assert shown.permissions is not None
    assert shown.permissions.allow("w", "lobby")


def test_nothing_is_signed_that_would_be_refused() -> None:
    with pytest.raises(BadToken, match="at most 64"):
        sign(Config(token_key=SECRET), 7, "n" * 65)
    with pytest.raises(
        ConfigError, match=r"there is none: give --token-key, THREADCHAT_TOKEN_KEY or a file$"
    ):
        sign(Config(), 7)
    with pytest.raises(ConfigError, match="token_keys are public keys, which cannot sign"):
        sign(Config(token_keys="keys"), 7)


def test_the_library_is_not_loaded_without_need() -> None:
    assert "jwt" not in vars(module)
