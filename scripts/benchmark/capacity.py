"""Finds the highest rate that a server bears: it doubles or halves the rate, then narrows it down."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

PRECISION = 1.1  # ratio between the lowest rate that was too much and the highest that was not


def highest_rate(first: float, is_borne: Callable[[float], bool], most_steps: int) -> float:
    """Return the highest rate for which `is_borne` was true, beginning with `first`; 0 if there was none."""
    borne, too_much, rate = 0.0, 0.0, first
    for _ in range(most_steps):
        if is_borne(rate):
            borne = rate
        else:
            too_much = rate
        if borne and too_much:
            if too_much / borne <= PRECISION:
                break
            rate = sqrt(borne * too_much)
        else:
            rate = borne * 2 or too_much / 2
    return borne
