"""What offers and answers of permessage-deflate come to."""

from __future__ import annotations

import pytest

from threadchat.wire.protocol.deflate import NARROW, WIDE
from threadchat.wire.protocol.extensions import OFFER, accept_offer, read_answer

YES = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", YES),
        ("permessage-deflate; client_max_window_bits", YES),
        ("permessage-deflate;client_max_window_bits=10;client_no_context_takeover", YES),
        ("permessage-deflate ; server_no_context_takeover", YES),
        ("permessage-deflate; server_max_window_bits=15", f"{YES}; server_max_window_bits=12"),
        ("permessage-deflate; server_max_window_bits=12", f"{YES}; server_max_window_bits=12"),
        ("permessage-deflate; server_max_window_bits = 11", f"{YES}; server_max_window_bits=9"),
        ('permessage-deflate; server_max_window_bits="9"', f"{YES}; server_max_window_bits=9"),
        (f"permessage-deflate; {OFFER}", YES),
        ("x-webkit-deflate-frame, permessage-deflate", YES),
        (
            "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=10, "
            "permessage-deflate",
            f"{YES}; server_max_window_bits=9",
        ),
    ],
)
def test_the_first_offer_that_can_be_met_is_accepted(offer: str, answer: str) -> None:
    agreed = accept_offer(offer)
    assert agreed is not None
    assert agreed.answer == answer
    assert agreed.deflater is (NARROW if answer.endswith("=9") else WIDE)
    assert not agreed.keeps_window


@pytest.mark.parametrize(
    "offer",
    [
        "",
        ",",
        "permessage-bzip2",
        "permessage-deflate2",
        "permessage-deflate; unknown",
        "permessage-deflate; unknown=1",
        "permessage-deflate;",
        "permessage-deflate; =",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=",
        "permessage-deflate; server_max_window_bits",  # needs a value (7.1.2.1)
        "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; server_max_window_bits=8",  # which zlib has not
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=09",
        "permessage-deflate; server_max_window_bits=+9",
        "permessage-deflate; server_max_window_bits=9 9",
        "permessage-deflate; server_max_window_bits='9'",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=",
        "permessage-deflate; client_max_window_bits=\u0661\u0662",
        "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
        'permessage-deflate; server_max_window_bits="',
        "permessage-deflate client_max_window_bits",
    ],
)
def test_what_cannot_be_met_or_is_wrong_is_passed_over(offer: str) -> None:
    assert accept_offer(offer) is None
    agreed = accept_offer(f"{offer}, permessage-deflate")
    assert agreed is not None
    assert agreed.answer == YES


def test_a_long_header_takes_no_long_time() -> None:
    """All is looked at once: sixteen thousand of anything are nothing."""
    for part in (";", " ", '"', "a=", "; a"):
        assert accept_offer("permessage-deflate" + part * 16_000 + "!") is None


@pytest.mark.parametrize(
    ("answer", "keeps_window", "deflater"),
    [
        ("permessage-deflate", True, WIDE),
        ("permessage-deflate; server_no_context_takeover", False, WIDE),
        (f"{YES}; server_max_window_bits=8", False, WIDE),
        ("permessage-deflate; client_max_window_bits=15", True, WIDE),
        ("permessage-deflate; client_max_window_bits=11", True, NARROW),
        ("permessage-deflate; client_max_window_bits=8", True, None),
    ],
)
def test_an_answer_says_what_holds(answer: str, keeps_window: bool, deflater: object) -> None:
    agreed = read_answer(answer)
    assert (agreed.answer, agreed.keeps_window, agreed.deflater) == (answer, keeps_window, deflater)


@pytest.mark.parametrize(
    "answer",
    [
        "permessage-bzip2",
        "permessage-deflate; unknown",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
    ],
)
def test_an_answer_that_no_offer_allows_is_an_error(answer: str) -> None:
    with pytest.raises(ValueError, match="is not a valid answer to permessage-deflate; server_no"):
        read_answer(answer)
