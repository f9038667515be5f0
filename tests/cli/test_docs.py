"""Tests the command `docs`: topics in the terminal, the pager, and the page of a running server."""

from __future__ import annotations

import io
import subprocess
import sys
import webbrowser
from pathlib import Path

import pytest

from tests.e2e.process import environment
from threadchat.cli import docs
from threadchat.cli.main import main
from threadchat.docs import topics
from threadchat.testing import LiveServer


def test_the_topics_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["docs"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {topic} " in said for topic in topics.TOPICS)
    assert said.endswith("Show one with: python -m threadchat docs TOPIC\n")


def test_a_topic_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["docs", "start-flask"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("# A chat in a Flask application\n")
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("setings", "did you mean settings?"),
        ("flask", "did you mean start-flask?"),
        ("qqq", "python -m threadchat docs lists them"),
    ],
)
def test_an_unknown_topic_is_refused(word: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["docs", word]) == 2
    assert capsys.readouterr().err == f"threadchat: there is no topic {word}; {hint}\n"


def test_in_a_terminal_there_is_a_pager(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("PAGER", f"tee {tmp_path / 'shown'}")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert main(["docs", "codes"]) == 0
    assert (tmp_path / "shown").read_text().startswith("\x1b[1m# Codes")
    monkeypatch.setenv("PAGER", "no-such-pager")
    assert main(["docs", "codes"]) == 0
    assert "# Codes" in sys.stdout.getvalue()  # type: ignore[attr-defined]


def test_a_reader_that_has_enough_is_no_error() -> None:
    command = f"{sys.executable} -m threadchat docs protocol | head -n 1"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=environment(), check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("# The protocol\n", "")


@pytest.mark.parametrize("there", [True, False])
def test_the_web_page_of_a_server_is_opened(
    there: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []

    def open_(url: str) -> bool:
        opened.append(url)
        return there

    monkeypatch.setattr(webbrowser, "open", open_)
    with LiveServer() as server:
        assert main(["docs", "auth", "--web", "--url", server.page]) == 0
        assert opened == [f"{server.page}docs/auth"]
        said = capsys.readouterr().out
        assert said == ("" if there else f"there is no browser to start; the page is at {opened[0]}\n")


def test_what_servers_do_not_show_is_for_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["docs", "changelog", "--web"]) == 2
    assert capsys.readouterr().err == "threadchat: servers do not show changelog; leave --web out\n"
    assert main(["docs", "changelog"]) == 0


def test_without_a_server_it_is_told_how_to_get_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["docs", "--web", "--url", "http://127.0.0.1:1"]) == docs.EXIT_UNREACHABLE
    assert capsys.readouterr().err.startswith("threadchat: http://127.0.0.1:1/docs/ cannot be opened: ")
