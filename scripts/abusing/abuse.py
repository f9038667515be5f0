"""What an abuse is: an attack, the settings of the server, and the expected answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from abusing.target import Answers, Target


@dataclass(frozen=True)
class Abuse:
    """One kind of abuse. `refusals` are the allowed answers; at least one of them must come.

    `flags` are the server's flags. `descriptors` limits its open files; None means no limit. `errors` is the
    number of lines with level ERROR that it may log, and `pooled` the number of connections to Redis that it
    may keep. `newcomers`: whether newcomers get in meanwhile, as they must unless the server is full.
    """

    name: str
    run: Callable[[Target], Answers]
    refusals: frozenset[str]
    flags: tuple[str, ...] = ()
    descriptors: int | None = None
    errors: int = 0
    pooled: int = 0
    newcomers: bool = True


def abuse(
    name: str,
    *refusals: str,
    flags: tuple[str, ...] = (),
    descriptors: int | None = None,
    errors: int = 0,
    pooled: int = 0,
    newcomers: bool = True,
) -> Callable[[Callable[[Target], Answers]], Abuse]:
    """A decorator that turns a function into an abuse."""
    return lambda run: Abuse(name, run, frozenset(refusals), flags, descriptors, errors, pooled, newcomers)
