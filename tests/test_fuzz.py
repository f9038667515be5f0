"""Covers scripts/fuzz: it runs what it is told, counts it, and tells how to see a failure again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

ROOT = Path(__file__).parents[1]


@pytest.fixture
def fuzzing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command, with a few examples a round."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from fuzzing import __main__ as command

    monkeypatch.setattr(command, "EXAMPLES", 5)
    return command


@pytest.mark.parametrize("name", ["outbox", "bytes for requests"])
def test_nothing_found_is_0(fuzzing: Any, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzzing.main(["--seconds", "1", "--seed", "7", "--only", name]) == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "fuzz: seed 7, 1 s each"
    assert second.startswith(f"fuzz: {name}: ok, ")
    assert int(second.split()[-2].replace(",", "")) >= 5
    assert third == "fuzz: ok: nothing was found"


def test_what_is_found_is_1_and_can_be_seen_again(
    fuzzing: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fuzzing import targets

    def check(number: int, text: str) -> None:
        assert number < 1000, "too many"

    monkeypatch.setitem(targets.CHECKS, "bytes for requests", (check, (st.integers(0, 1 << 20), st.text())))
    said = []
    for _ in range(2):
        assert fuzzing.main(["--seconds", "1", "--seed", "7", "--only", "bytes for requests"]) == 1
        said.append(capsys.readouterr())
    assert said[0].out == said[1].out
    assert "bytes for requests: FAILED, after" in said[0].out
    assert "again with --seed 7" in said[0].out
    assert "value0=1000" in said[0].err  # made small


def test_nonsense_is_refused(fuzzing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (["--seconds", "0"], ["--only", "nothing"]):
        with pytest.raises(SystemExit) as caught:
            fuzzing.main(wrong)
        assert caught.value.code == 2
        assert wrong[1] in capsys.readouterr().err
