"""What a setting is: its unit, range and reason, how it is spelled, and the message for a wrong value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from threadchat.config.values import Address, Rule, Secret, Value
from threadchat.errors import ConfigError

T = TypeVar("T")
Group = Literal["address", "identity", "page", "deadlines", "limits", "rooms", "operations"]


def setting_field(default: Value, rule: Rule, group: Group, reason: str) -> Any:
    """A dataclass field that describes a setting."""
    metadata = {"default": default, "rule": rule, "group": group, "reason": reason}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of Config and how it is spelled elsewhere."""

    name: str
    default: Value
    rule: Rule
    group: Group
    reason: str

    @property
    def secret(self) -> bool:
        """Whether its value must not be printed."""
        return isinstance(self.rule, Secret)

    def told(self, value: object) -> Any:
        """A value as it may be printed: no secret, and no password within an address."""
        if self.secret:
            return HIDDEN if value else value
        return hide_password(value) if isinstance(self.rule, Address) and isinstance(value, str) else value

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return "THREADCHAT_" + self.name.upper()


HIDDEN: Final = "(secret)"
"""The text that replaces a secret in output."""
FILE: Final = "file:"
"""How a secret begins that is in a file, whose path follows."""


def hide_password(address: str) -> str:
    """Removes the password from an address, also from a malformed or badly quoted one."""
    if address.startswith("sqlite:"):
        return address
    begin = re.match(r"[^:@]*:/*", address)
    behind = address[begin.end() :] if begin else address
    user, at, rest = behind.rpartition("@")
    if at:
        name, colon, _ = user.partition(":")
        behind = f"{name}:{HIDDEN}@{rest}" if colon else f"{HIDDEN}@{rest}"
    whole = (begin[0] if begin else "") + behind
    return re.sub(r"(?i)([?&][^=&]*pass[^=&]*=)[^&]*", rf"\1{HIDDEN}", whole)


def read_secret(path: str) -> str:
    """The secret in a file, without the line's end. Raises ConfigError."""
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:  # it is not UTF-8, or the path has a NUL in it
        raise ConfigError(f"{path!a:.80} has no secret in it: it must be text") from None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from, and how a name and a value are written there."""

    label: str
    name: str
    joint: str
    suffix: str = ""

    def saying(self, value: object) -> str:
        return f"{self.name}{self.joint}{shown(value)}{self.suffix}"


def shown(value: object) -> str:
    """A value as a person would write it: 30 rather than 30.0, and at most one short line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value).removesuffix(".0") if isinstance(value, float) else str(value)
    text = text if text and text.isprintable() else repr(text)
    return text if len(text) <= 80 else text[:80] + "..."


def check_value(read: Callable[[Any], Value], setting: Setting, raw: object, origin: Origin) -> Value:
    """Converts `raw` with `read` and checks it. Raises ConfigError, which says where the value came from."""
    rule = setting.rule
    if setting.secret and isinstance(raw, str) and raw.startswith(FILE):
        try:
            raw = read_secret(raw.removeprefix(FILE))
        except ConfigError as error:
            raise ConfigError(f"{origin.name}: {error}") from None
    try:
        value = read(raw)
    except ValueError:
        wrong = HIDDEN if setting.secret else shown(repr(raw))
        raise ConfigError(f"{origin.name}: {wrong} is not {rule.noun}; it must be {rule.limits}") from None
    if not rule.allows(value):
        said = origin.saying(setting.told(raw))
        raise ConfigError(f"{said}: must be {rule.limits}")
    return value


def suggestion(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the most similar known name, or nothing.

    The first known name that starts with the word is preferred: history suggests history_size, not
    history_age.
    """
    names = list(known)
    nearest = [name for name in names if name.startswith((f"{word}_", f"{word}-"))]
    nearest = nearest or get_close_matches(word, names, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def names_unknown_settings(made: type[T]) -> type[T]:
    """Makes the constructor say what to write for an unknown name, or for a value without a name."""
    init = made.__init__
    known = [field.name for field in fields(made)]  # type: ignore[arg-type]

    @wraps(init)
    def __init__(self: T, *args: Any, **values: Any) -> None:
        if args:
            instead = "(**settings)" if isinstance(args[0], Mapping) else "(port=8080)"
            raise ConfigError(
                f"{made.__name__} takes settings by name, and was given a {type(args[0]).__name__}; "
                f"write {made.__name__}{instead}"
            )
        for name in values:
            if name not in known:
                raise ConfigError(f"{name} is not a setting{suggestion(name, known)}")
        init(self, **values)

    made.__init__ = __init__  # type: ignore[method-assign, assignment]
    return made
