"""Covers config/values.py: what each kind of setting takes from text and from Python, and its limits."""

from __future__ import annotations

import pytest

from threadchat.config.texts import API_KEY, TOKEN_KEY
from threadchat.config.values import (
    Bytes,
    Pattern,
    Seconds,
    SecondsOrNever,
    Secret,
    Text,
    Whole,
    YesNo,
    one_of,
)

WHOLE = Whole(0, 65_535)
BYTES = Bytes(1, 1024**3)
SECONDS = Seconds()


@pytest.mark.parametrize(
    ("text", "value"), [("8080", 8080), ("0", 0), ("+7", 7), ("-1", -1), ("1_000_000", 1_000_000)]
)
def test_whole_numbers_are_read(text: str, value: int) -> None:
    assert WHOLE.parse(text) == value


@pytest.mark.parametrize(
    "text", ["", "abc", "1.0", "1e3", " 1", "1 ", "_1", "1__0", "1_", "0x10", "٣", "--1", "9" * 5000, "1\n"]
)
def test_other_text_is_no_whole_number(text: str) -> None:
    with pytest.raises(ValueError):
        WHOLE.parse(text)


@pytest.mark.parametrize("raw", [True, False, 1.0, "1", None, [], {}])
def test_other_types_are_no_whole_number(raw: object) -> None:
    with pytest.raises(ValueError):
        WHOLE.coerce(raw)


def test_both_ends_of_a_range_belong_to_it() -> None:
    assert [WHOLE.allows(value) for value in (-1, 0, 65_535, 65_536)] == [False, True, True, False]
    assert WHOLE.limits == "from 0 to 65535"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("512000", 512_000),
        ("1_024", 1024),
        ("64KiB", 65_536),
        ("4MiB", 4_194_304),
        ("4 mib", 4_194_304),
        ("1_0KIB", 10_240),
        ("-1KiB", -1024),
    ],
)
def test_bytes_may_have_a_suffix(text: str, value: int) -> None:
    assert BYTES.parse(text) == value
    assert BYTES.coerce(text) == value  # a string in TOML


@pytest.mark.parametrize("text", ["", "KiB", "4MB", "4M", "4k", "1.5MiB", "4MiBKiB", "4 000", "0x10KiB"])
def test_other_text_is_no_number_of_bytes(text: str) -> None:
    with pytest.raises(ValueError):
        BYTES.parse(text)


@pytest.mark.parametrize("raw", [True, 1.0, None])
def test_other_types_are_no_number_of_bytes(raw: object) -> None:
    with pytest.raises(ValueError):
        BYTES.coerce(raw)


@pytest.mark.parametrize(("text", "value"), [("5", 5.0), ("0.2", 0.2), ("1e-3", 0.001), ("1_000", 1000.0)])
def test_seconds_are_read(text: str, value: float) -> None:
    assert SECONDS.parse(text) == value


@pytest.mark.parametrize("text", ["", "abc", "5s", "nan", "inf", "-inf", "infinity", "1e999", "٣", "1,5"])
def test_other_text_is_no_number_of_seconds(text: str) -> None:
    with pytest.raises(ValueError):
        SECONDS.parse(text)


def test_seconds_are_kept_as_float() -> None:
    assert [type(SECONDS.coerce(raw)) for raw in (5, 5.0)] == [float, float]


@pytest.mark.parametrize("raw", [True, "5", None, float("nan"), float("inf"), 10**400])
def test_other_values_are_no_number_of_seconds(raw: object) -> None:
    with pytest.raises(ValueError):
        SECONDS.coerce(raw)


def test_any_positive_number_of_seconds_is_allowed() -> None:
    assert [SECONDS.allows(value) for value in (-1.0, 0.0, 1e-9, 86_400.0, 86_400.1)] == [
        False,
        False,
        True,
        True,
        False,
    ]
    assert SECONDS.limits == "above 0 and at most 86400"


def test_a_duration_may_have_a_least_length() -> None:
    rule = Seconds(low=3)
    assert [rule.allows(value) for value in (0.0, 2.9, 3.0, 86_400.0)] == [False, False, True, True]
    assert rule.limits == "from 3 to 86400"


def test_what_may_never_come_may_be_0() -> None:
    rule = SecondsOrNever(high=10)
    assert [rule.allows(value) for value in (-0.1, 0.0, 10.0, 10.1)] == [False, True, True, False]
    assert (rule.limits, rule.unit, rule.parse("0")) == ("from 0 to 10", "seconds", 0.0)


def test_text_has_to_match_from_end_to_end() -> None:
    rule = Text("[a-z]+", "small letters")
    assert rule.allows("abc")
    assert not rule.allows("abc1")
    assert not rule.allows("abc\n")


@pytest.mark.parametrize("raw", [1, None, b"abc", ["abc"]])
def test_other_types_are_no_text(raw: object) -> None:
    with pytest.raises(ValueError):
        Text(".*", "anything").coerce(raw)


@pytest.mark.parametrize(
    ("words", "limits"), [(("a",), "a"), (("a", "b"), "a or b"), (("a", "b", "c"), "a, b or c")]
)
def test_one_of_lists_its_words(words: tuple[str, ...], limits: str) -> None:
    rule = one_of(*words)
    assert rule.limits == limits
    assert all(rule.allows(word) for word in words)
    assert not rule.allows("".join(words) + "x")


def test_one_of_takes_words_literally_and_adds_its_note() -> None:
    rule = one_of("a.b", note="; no more")
    assert not rule.allows("axb")
    assert rule.limits == "a.b; no more"


def test_a_pattern_has_to_be_one() -> None:
    pattern = Pattern()
    assert pattern.parse("[a-z]{1,8}") == pattern.coerce("[a-z]{1,8}") == "[a-z]{1,8}"
    for bad in ("[a-", "(", "a{2,1}", "(?P<a>x)(?P<a>y)"):
        with pytest.raises(ValueError):
            pattern.parse(bad)
    for other in (7, None, b"a"):
        with pytest.raises(ValueError):
            pattern.coerce(other)
    assert [pattern.allows(text) for text in ("", "a" * 1000, "a" * 1001, "a\0")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_secret_is_text_that_is_known_to_be_one() -> None:
    assert isinstance(API_KEY, Secret)
    allowed = [API_KEY.allows(text) for text in ("", "k" * 15, "k" * 16, "k" * 16 + " ", "\u00fc" * 16)]
    assert allowed == [True, False, True, False, False]
    assert not TOKEN_KEY.allows("k" * 31)


@pytest.mark.parametrize(
    ("text", "value"),
    [("yes", True), ("True", True), ("on", True), ("1", True), ("no", False), ("OFF", False)],
)
def test_yes_and_no_are_read(text: str, value: bool) -> None:
    assert YesNo().parse(text) is YesNo().coerce(text) is value
    assert YesNo().coerce(value) is value


@pytest.mark.parametrize("raw", ["", "y", "2", 1, 0, None, 1.0])
def test_anything_else_is_neither_yes_nor_no(raw: object) -> None:
    with pytest.raises(ValueError):
        YesNo().coerce(raw)
