"""What a connection may take where nobody says otherwise."""

from __future__ import annotations

from threadchat.config.settings import Config
from threadchat.wire.limits import DEFAULT_LIMITS, Limits


def test_the_limits_are_the_settings_of_those_names_and_have_their_defaults() -> None:
    config = Config()
    assert Limits(**{name: getattr(config, name) for name in Limits._fields}) == DEFAULT_LIMITS
