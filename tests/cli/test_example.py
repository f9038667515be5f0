"""Tests the command `example`: what it writes is there once, complete, and starts as it says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from threadchat.cli.example import EXAMPLES
from threadchat.cli.main import main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_written(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["example", name, str(tmp_path)]) == 0
    said = capsys.readouterr().out
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {Path(line.removeprefix("wrote ")).name for line in said.splitlines()[:-1]} == {
        Path(path).name for path in files
    }
    start = EXAMPLES[name].start
    assert said.endswith(f"start it with: {start}\n")
    assert [word for word in start.split() if re.search(r"\.(py|conf|service)$", word)], "it names a file"
    for word in re.findall(r"[\w./]+\.(?:py|conf|service)\b", start):
        assert word.removeprefix("./") in files
    for path in tmp_path.rglob("*.py"):
        text = path.read_text()
        ast.parse(text)
        assert "scripts/examples" not in text
    for page in tmp_path.rglob("*.html"):
        for link in re.findall(r'(?:href|src)="/(pages/[^"]+)"', page.read_text()):
            assert link in files


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages/dashboard.js").write_text("mine")
    assert main(["example", "dashboard", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said == f"threadchat: {tmp_path}/pages/dashboard.js cannot be written: it exists already\n"
    assert not (tmp_path / "dashboard.py").exists()
    assert (tmp_path / "pages/dashboard.js").read_text() == "mine"


def test_examples_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["example"]) == 0
    said = capsys.readouterr().out
    assert all(f"{name} " in said for name in EXAMPLES)


def test_an_unknown_example_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["example", "flsk"]) == 2
    assert capsys.readouterr().err == "threadchat: there is no example flsk; did you mean flask?\n"
    assert main(["example", "qqq"]) == 2
    assert "there is no example qqq; there are flask, django" in capsys.readouterr().err


def test_every_program_of_the_tree_can_be_written() -> None:
    programs = {path.name for path in (ROOT / "scripts/examples").glob("*.py")}
    assert programs == {file for example in EXAMPLES.values() for file in example.files if file in programs}
