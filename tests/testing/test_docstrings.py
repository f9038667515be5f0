"""Runs every example in the docstrings of threadchat.testing, and of the rooms."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import threadchat
from threadchat import testing

FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROOMS = ("EventStream", "Hub", "JsonLines", "Room")
HOMES = [*((testing, name) for name in testing.__all__), *((threadchat, name) for name in ROOMS)]


def examples() -> Iterator[Any]:
    for home, name in HOMES:
        for number, code in enumerate(FENCE.findall(inspect.getdoc(getattr(home, name)) or "")):
            yield pytest.param(textwrap.dedent(code), id=f"{name}-{number}")


@pytest.mark.parametrize("code", list(examples()))
def test_the_example_does_what_it_says(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "assert" in code, "an example shows what comes of it"
    exec(compile(code, "<docstring>", "exec"), {})


@pytest.mark.parametrize("name", testing.__all__)
def test_each_helper_has_an_example(name: str) -> None:
    assert FENCE.search(inspect.getdoc(getattr(testing, name)) or "")
