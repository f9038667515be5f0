"""Warns of settings that have no effect on a `Chat` in a program of one's own."""

from __future__ import annotations

import warnings
from typing import Final

from threadchat.config.setting import shown
from threadchat.config.settings import SETTINGS, Config

STAND_ALONE: Final = ("workers", "pin", "log_level", "log_format")
"""Settings of the whole process. A program that embeds a `Chat` makes these choices itself."""


class UnusedSetting(UserWarning):
    """A setting was given where it has no effect."""


def warn_of_unused(config: Config, stacklevel: int) -> None:
    """Warns of settings that have no effect on an embedded `Chat`; see `warnings.warn` for `stacklevel`."""
    for name in STAND_ALONE:
        if (value := getattr(config, name)) != SETTINGS[name].default:
            text = f"{name}={shown(value)} has no effect on a Chat of your own, only in python -m threadchat"
            if name.startswith("log"):
                text += "; threadchat logs through Python's logging, which your program configures"
            warnings.warn(text, UnusedSetting, stacklevel + 1)
