"""What an abuse is: what is done, to a server of which settings, and how that must be answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from abusing.target import Answers, Target


@dataclass(frozen=True)
class Abuse:
    """One kind of abuse. `refusals` are all the answers that are right; of them, some must come.

    `flags` are the server's, `descriptors` the most that it may have open, None for any number. `errors`: how
    many lines of level ERROR it may cost.
    """

    name: str
    run: Callable[[Target], Answers]
    refusals: frozenset[str]
    flags: tuple[str, ...] = ()
    descriptors: int | None = None
    errors: int = 0


def abuse(
    name: str,
    *refusals: str,
    flags: tuple[str, ...] = (),
    descriptors: int | None = None,
    errors: int = 0,
) -> Callable[[Callable[[Target], Answers]], Abuse]:
    """Makes an abuse of the function that does it."""
    return lambda run: Abuse(name, run, frozenset(refusals), flags, descriptors, errors)
