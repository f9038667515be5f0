"""Tests of the hooks by themselves: how they are set."""

from __future__ import annotations

from typing import Any

import pytest

from threadchat.errors import ConfigError
from threadchat.server.auth.hooks import Hooks

NAMES = ["authenticate", "on_connect", "on_message", "on_disconnect", "authorize"]


def fail(*arguments: object) -> Any:
    raise ValueError("the database is away")


# -- setting -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_hook_is_set_once(name: str) -> None:
    hooks = Hooks()
    assert getattr(hooks, name) is None
    assert hooks.set(name, fail) is fail
    with pytest.raises(ConfigError, match=f"{name} is set already"):
        hooks.set(name, fail)


@pytest.mark.parametrize("name", NAMES)
def test_a_hook_can_be_called(name: str) -> None:
    wrong: Any = "not a function"
    with pytest.raises(ConfigError, match=f"{name}='not a function' cannot be called"):
        Hooks(**{name: wrong})


def test_who_wants_to_see_messages() -> None:
    assert not Hooks(on_connect=fail, on_disconnect=fail, authenticate=fail).see_messages
    assert Hooks(on_message=fail).see_messages
    assert Hooks(authorize=fail).see_messages
