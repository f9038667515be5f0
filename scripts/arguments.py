"""Kinds of arguments that several scripts take."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """A whole number from 1 up. Raises ArgumentTypeError, which says so."""
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 1 up")
    return number
