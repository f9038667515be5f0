"""Verifies the tokens (JWT) that identify users, and signs tokens for development."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from threadchat.chat.access.revocations import Proof
from threadchat.chat.log.events import UserId
from threadchat.chat.log.ids import ID_RULE, LARGEST_ID
from threadchat.config.settings import Config
from threadchat.errors import BadToken, ConfigError, ThreadchatError
from threadchat.server.auth.jwks import KeyFile
from threadchat.server.auth.permissions import Permissions
from threadchat.server.auth.users import User, as_user

if TYPE_CHECKING:
    from types import ModuleType

MAX_TOKEN: Final = 8192
"""Characters. A longer token is refused unread; proxies do not accept longer headers either."""
MAX_HEADER: Final = 2048
"""Characters of a token's header, which is decoded before its signature is verified. Some versions of Python
follow nested JSON so deep that a longer header could overflow a thread's stack."""
LEEWAY: Final = 10.0
"""Seconds by which the signer's clock may be ahead of ours."""
TYPES: Final = ("jwt", "at+jwt")
"""The values of `typ` that a token's header may have, in lower case; it may also have none."""
_DECIMAL: Final = re.compile("[1-9][0-9]*")
_NUMERIC: Final = re.compile(r"\s*[+-]?\d+(\.\d*)?\s*")
_LATEST: Final = 2.0**53


class Pass(NamedTuple):
    """The content of a verified token: the user, the expiry (Unix time, in seconds), and permissions.

    `permissions` is None if the token does not mention rooms. `proof` has the time of `iat`, or 0, and the
    token's `jti`. Without one, its id is derived from the signed text, so every token can be revoked.
    """

    user: User
    expires: float
    permissions: Permissions | None = None
    proof: Proof = Proof(0.0)


class Tokens:
    """Verifies tokens with the keys of the settings. Every method may be called from any thread."""

    def __init__(self, config: Config, clock: Callable[[], float] = time.time) -> None:
        """`clock` returns Unix time. Raises ConfigError if PyJWT is missing, or a file holds no key."""
        self._jwt = _load_jwt("token_keys" if config.token_keys else "token_key")
        self._secret = config.token_key
        self._file = KeyFile(config.token_keys, self._jwt) if config.token_keys else None
        self._audience = config.token_audience or None
        self._issuer = config.token_issuer or None
        self._clock = clock

    @staticmethod
    def of(config: Config) -> Tokens | None:
        """The verifier for the configured keys; None if there are none. Raises ConfigError."""
        return Tokens(config) if config.token_key or config.token_keys else None

    def reload(self) -> None:
        """Reads the file of keys again. If it is invalid, the old keys stay and the error is logged."""
        if self._file is not None:
            self._file.reload()

    def remaining(self, shown: Pass) -> float:
        """Seconds until a token expires; 0 or less if it has expired."""
        return shown.expires - self._clock()

    def verify(self, text: str) -> Pass:
        """Verifies a token and returns its content.

        Raises BadToken. Its text never contains the token, nor claims from one that was not verified.
        """
        if len(text) > MAX_TOKEN:
            raise BadToken(f"it is longer than {MAX_TOKEN} characters")
        if len(text.partition(".")[0]) > MAX_HEADER:
            raise BadToken(f"its header is longer than {MAX_HEADER} characters")
        claims = self._decode(text)
        expires = self._check_times(claims)
        subject = _subject(claims.get("sub"))
        try:
            user = as_user({"id": subject, "nickname": claims.get("nickname")})
        except ThreadchatError as error:
            raise BadToken(f"its sub or nickname cannot be used: {error}") from None
        assert user is not None
        proof = Proof(_time(claims, "iat") or 0.0, _id_of(claims, text))
        return Pass(user, expires, Permissions.of(claims.get("rooms")), proof)

    def _decode(self, text: str) -> Mapping[str, Any]:
        jwt = self._jwt
        try:
            header = jwt.get_unverified_header(text)
            key, algorithm = self._key(header)
            claims: Mapping[str, Any] = jwt.decode(
                text,
                key,
                algorithms=[algorithm],  # the key's algorithm; the token's header only selects the key
                audience=self._audience,
                issuer=self._issuer,
                # A number is a valid sub here. Times are checked with a clock that a test can set.
                options={f"verify_{claim}": False for claim in ("sub", "jti", "exp", "nbf", "iat")},
            )
        except jwt.MissingRequiredClaimError as error:
            raise BadToken(f"its claim {error.claim} is missing") from None
        except jwt.InvalidSignatureError:
            raise BadToken("its signature does not match this server's key") from None
        except jwt.InvalidAudienceError:
            raise BadToken("its audience (aud) is not the server's token_audience") from None
        except jwt.InvalidIssuerError:
            raise BadToken("its issuer (iss) is not the server's token_issuer") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise BadToken(f"it is not a signed JWT ({type(error).__name__})") from None
        return claims

    def _key(self, header: Mapping[str, Any]) -> tuple[Any, str]:
        """The key for a token, and that key's only algorithm. A public key never verifies an HMAC."""
        algorithm = header.get("alg")
        # RFC 8725 section 3.11: the same issuer also signs other kinds, such as logout tokens.
        kind = header.get("typ", TYPES[0])
        if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in TYPES:
            raise BadToken("its header says that it is not an access token: typ must be JWT or at+jwt")
        if "crit" in header:  # RFC 7515 section 4.1.11: critical extensions must be understood
            raise BadToken("its header requires an extension (crit), and none is supported")
        if algorithm == "HS256" and self._secret:
            return self._secret, "HS256"
        if algorithm == "RS256" and self._file is not None:
            return self._file.find(header.get("kid")), "RS256"
        kinds = [*(["HS256"] if self._secret else []), *(["RS256"] if self._file else [])]
        raise BadToken(f"it is not signed with {' or '.join(kinds)}")

    def _check_times(self, claims: Mapping[str, Any]) -> float:
        """When a token expires. Raises BadToken if it has, or is not valid yet (RFC 7519 section 4.1)."""
        now = self._clock()
        expires = _time(claims, "exp")
        if expires is None:
            raise BadToken("its claim exp is missing")
        if expires <= now:
            raise BadToken("it has expired")
        for name in ("nbf", "iat"):
            begins = _time(claims, name)
            if begins is not None and begins > now + LEEWAY:
                raise BadToken(f"it is not valid yet ({name})")
        return expires


def sign(
    config: Config,
    user: UserId,
    nickname: str = "",
    rooms: Mapping[str, str] | None = None,
    *,
    seconds: float = 3600.0,
    now: float | None = None,
) -> str:
    """A token for `user`, signed with `token_key`. `rooms` are letters by name, or None to leave them out.

    Raises ConfigError without a key, and BadToken for a token that the server would refuse.
    """
    jwt = _load_jwt("token_key")
    if not config.token_key:
        raise ConfigError(
            "token signs with token_key, and there is none: give --token-key, THREADCHAT_TOKEN_KEY or a file"
            + ("; token_keys are public keys, which cannot sign" if config.token_keys else "")
        )
    if isinstance(user, str) and isinstance(_subject(user), int):
        raise BadToken(f"the text {user!r} as sub means the integer; an id that is text has more than digits")
    issued = time.time() if now is None else now
    claims: dict[str, Any] = {"sub": str(user), "iat": int(issued), "exp": int(issued + seconds)}
    named = {
        "nickname": nickname,
        "aud": config.token_audience,
        "iss": config.token_issuer,
    }
    claims |= {name: value for name, value in named.items() if value}
    if rooms is not None:
        claims["rooms"] = dict(rooms)
    signed: str = jwt.encode(claims, config.token_key, algorithm="HS256")
    Tokens(config, clock=lambda: issued).verify(signed)
    return signed


def _load_jwt(setting: str) -> ModuleType:
    """Imports PyJWT, which is only needed for tokens. Raises ConfigError."""
    try:
        import jwt

        if setting == "token_keys":
            import cryptography  # noqa: F401  # without it PyJWT fails only when it verifies RS256
    except ModuleNotFoundError as error:
        if error.name not in ("jwt", "cryptography"):
            raise
        needed = "PyJWT" if error.name == "jwt" else "cryptography"
        raise ConfigError(f"{setting} needs {needed}: pip install 'threadchat[auth]'") from None
    return jwt


def _subject(claim: Any) -> Any:
    """The user id in the claim `sub`. RFC 7519 makes it text, so decimal digits mean an integer id.

    Longer numbers, as some identity providers use, stay text. An invalid id is returned unchanged, and
    `as_user` refuses it. Raises BadToken if `sub` is missing, or is a number in another notation.
    """
    if isinstance(claim, str) and _NUMERIC.fullmatch(claim):
        if not _DECIMAL.fullmatch(claim):
            raise BadToken(f"its sub {claim!r:.40} is a number, but not a valid id: {ID_RULE}")
        return int(claim) if len(claim) < 17 and int(claim) <= LARGEST_ID else claim
    if claim is None:
        raise BadToken("its claim sub is missing")
    return claim


def _id_of(claims: Mapping[str, Any], text: str) -> str:
    """The id of a verified token. Raises BadToken for a `jti` that is not text (RFC 7519 section 4.1.7)."""
    found = claims.get("jti")
    if found is None:
        return text.rpartition(".")[0]  # the signature may be spelled in several ways
    if not isinstance(found, str) or not found:
        raise BadToken("its claim jti is not text")
    return found


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """A claim that is a Unix time (NumericDate of RFC 7519). Raises BadToken."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LATEST:
        raise BadToken(f"its claim {name} is not a time in seconds since 1970")
    return float(value)
