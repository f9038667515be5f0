"""Rules for the values of settings: type, unit and limits, and how a value is read from text."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final, Protocol

Value = str | int | float  # and bool, which is an int


class Rule(Protocol):
    """What one setting accepts. `parse` and `coerce` check the type, `allows` checks the limits."""

    @property
    def unit(self) -> str:
        """The unit of its values, in the plural; empty for text."""

    @property
    def noun(self) -> str:
        """A description of the type, which messages put after "is not"."""

    @property
    def limits(self) -> str:
        """The allowed values, which messages put after "must be"."""

    def parse(self, text: str) -> Value:
        """Reads the text of a flag or a variable. Raises ValueError if it is not of this type."""

    def coerce(self, raw: object) -> Value:
        """Converts a value from Python or TOML. Raises ValueError if it is not of this type."""

    def allows(self, value: Any) -> bool:
        """Whether a value of this type is within the limits."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from `low` to `high`, both included; in text, 1000000 may be written `1_000_000`."""

    low: int
    high: int
    unit: str = ""
    noun: str = "a whole number"

    @property
    def limits(self) -> str:
        return f"from {self.low} to {self.high}"

    def parse(self, text: str) -> int:
        # int() alone would also accept blanks, digits of other scripts, and thousands of digits.
        if not re.fullmatch(r"[+-]?[0-9]{1,30}(_[0-9]{1,30}){0,9}", text):
            raise ValueError(text)
        return int(text)

    def coerce(self, raw: object) -> int:
        if type(raw) is not int:  # isinstance would accept True
            raise ValueError(raw)
        return raw

    def allows(self, value: Any) -> bool:
        return bool(self.low <= value <= self.high)


@dataclass(frozen=True, slots=True)
class Bytes(Whole):
    """A number of bytes; text, also in TOML, may be `512KiB` or `4MiB`."""

    unit: str = "bytes"
    noun: str = "a number of bytes such as 65536, 64KiB or 4MiB"

    def parse(self, text: str) -> int:
        number, factor = text, 1
        for suffix, size in (("kib", 1024), ("mib", 1024 * 1024)):
            if text.lower().endswith(suffix):
                number, factor = text[: -len(suffix)].rstrip(), size
        # Not super(): slots=True creates the class a second time, and a bare super() refers to the first one.
        return Whole.parse(self, number) * factor

    def coerce(self, raw: object) -> int:
        return self.parse(raw) if isinstance(raw, str) else Whole.coerce(self, raw)


@dataclass(frozen=True, slots=True)
class Seconds:
    """A duration: a positive number of seconds, at least `low` and at most `high`."""

    high: int = 86_400
    unit: str = "seconds"
    noun: str = "a number of seconds"
    low: int = 0

    @property
    def limits(self) -> str:
        return f"from {self.low} to {self.high}" if self.low else f"above 0 and at most {self.high}"

    def parse(self, text: str) -> float:
        value = float(text)
        if not text.isascii() or not math.isfinite(value):
            raise ValueError(text)
        return value

    def coerce(self, raw: object) -> float:
        if type(raw) not in (int, float):
            raise ValueError(raw)
        return self.parse(str(raw))

    def allows(self, value: Any) -> bool:
        return bool(0 < value <= self.high and self.low <= value)


@dataclass(frozen=True, slots=True)
class SecondsOrNever(Seconds):
    """A duration, or 0 for "never"."""

    @property
    def limits(self) -> str:
        return f"from 0 to {self.high}"

    def allows(self, value: Any) -> bool:
        return bool(0 <= value <= self.high)


@dataclass(frozen=True, slots=True)
class Text:
    """Text that `pattern` matches in full; `limits` describes the pattern to people."""

    pattern: str
    limits: str
    unit: str = ""
    noun: str = "text"

    def parse(self, text: str) -> str:
        return text

    def coerce(self, raw: object) -> str:
        if not isinstance(raw, str):
            raise ValueError(raw)
        return raw

    def allows(self, value: Any) -> bool:
        return re.fullmatch(self.pattern, value) is not None


def one_of(*words: str, note: str = "") -> Text:
    """A rule that allows one of several words; `note` is appended to `limits`."""
    listed = " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
    return Text("|".join(map(re.escape, words)), listed + note)


@dataclass(frozen=True, slots=True)
class Secret(Text):
    """Text that must not be printed."""


@dataclass(frozen=True, slots=True)
class Address(Text):
    """Text that may have a password in it, as in redis://user:password@host."""


@dataclass(frozen=True, slots=True)
class Pattern(Text):
    """A regular expression in Python's syntax; empty for none."""

    pattern: str = r"[^\0]{0,1000}"
    limits: str = "a pattern that Python's re module accepts, of at most 1000 characters"
    noun: str = "a regular expression such as [a-z0-9-]{1,32}"

    def parse(self, text: str) -> str:
        try:
            re.compile(text)
        except (re.error, RecursionError, OverflowError):
            raise ValueError(text) from None
        return text

    def coerce(self, raw: object) -> str:
        # Not super(): slots=True creates the class a second time, and a bare super() refers to the first one.
        return self.parse(Text.coerce(self, raw))


AUTO: Final = "auto"
_WORDS: Final = {
    "yes": True,
    "true": True,
    "on": True,
    "1": True,
    "no": False,
    "false": False,
    "off": False,
    "0": False,
}


@dataclass(frozen=True, slots=True)
class YesNo:
    """Yes or no; text may also be true, on or 1, and false, off or 0."""

    unit: str = ""
    noun: str = "yes or no"
    limits: str = "yes or no"

    def parse(self, text: str) -> bool:
        try:
            return _WORDS[text.lower()]
        except KeyError:
            raise ValueError(text) from None

    def coerce(self, raw: object) -> bool:
        if isinstance(raw, str):
            return self.parse(raw)
        if type(raw) is not bool:
            raise ValueError(raw)
        return raw

    def allows(self, value: Any) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class YesNoAuto(YesNo):
    """Yes or no, or `auto` if other settings decide."""

    noun: str = "yes, no or auto"
    limits: str = "yes, no or auto"

    def parse(self, text: str) -> bool | str:  # type: ignore[override]
        # Not super(): slots=True creates the class a second time, and a bare super() refers to the first one.
        return AUTO if text.lower() == AUTO else YesNo.parse(self, text)
