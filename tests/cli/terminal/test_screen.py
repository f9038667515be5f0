"""Covers threadchat/cli/terminal/screen.py: a real pseudo-terminal with a real server behind it."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from tests.cli.terminal.terminal import Terminal
from tests.client.fakes import FakeServer, online
from tests.e2e.process import ServerProcess
from threadchat.cli.terminal.screen import MOST_LINES, Screen
from threadchat.client import Client


@pytest.fixture(autouse=True)
def an_editor(monkeypatch: pytest.MonkeyPatch) -> None:
    """prompt_toolkit does not edit on a dumb terminal, which the one that runs the tests may be."""
    monkeypatch.setenv("TERM", "xterm")


def test_a_dumb_terminal_is_for_lines(chat_server: ServerProcess) -> None:
    with Terminal("connect", chat_server.url, "--nickname", "ann", environ={"TERM": "dumb"}) as terminal:
        terminal.shows("threadchat: on a terminal that is dumb (TERM), give exactly one --room to publish in")
    arguments = ("connect", chat_server.url, "--nickname", "ann", "--room", "lines")
    with (
        Client(chat_server.url, "bob") as bob,
        Terminal(*arguments, environ={"TERM": "dumb"}) as terminal,
    ):
        bob.join("lines")
        terminal.type("typed without an editor\r")
        assert any(getattr(event, "message", "") == "typed without an editor" for event in bob)


def test_talking_and_listening(chat_server: ServerProcess) -> None:
    with (
        Terminal("connect", chat_server.url, "--nickname", "ann") as terminal,
        Client(chat_server.url, "bob") as bob,
    ):
        terminal.shows("as ann; /help lists the commands")
        terminal.shows("#lobby>")
        terminal.type("hello, wolrd\x1b[D\x1b[D\x1b[D\x7f\x1b[Cr\r")
        terminal.shows("ann: hello, ")
        terminal.type("half a li")
        terminal.shows("half a li")
        bob.message("lobby", "evil \x1b[2J\x1b[1;1H text\nand more")
        terminal.shows("bob: evil \\x1b[2J\\x1b[1;1H text")
        terminal.shows("│ and more")
        terminal.shows("#lobby> half a li")
        terminal.type("ne\r")
        terminal.shows("ann: half a line")
        assert "\x1b[2J" not in terminal.raw, "nobody else clears this screen"
        assert any(f"\x1b[{shade}mbob" in terminal.raw for shade in (93, "0;93")), "names are in colour"
        assert terminal.leave() == 0


def test_completion_of_commands_rooms_and_names(chat_server: ServerProcess) -> None:
    with (
        Terminal(
            "connect", chat_server.url, "--nickname", "ann", "--room", "lobby", "--room", "den"
        ) as terminal,
        Client(chat_server.url, "bobby") as bob,
    ):
        terminal.shows("#den>")
        bob.join("den")
        terminal.shows("bobby joined")
        for typed, completed, rest, answer in (
            ("/hi\t", "story", "1\r", "bobby joined"),
            ("/who lo\t", "bby", "\r", "#lobby: ann"),
            ("hi bo\t", "bby", "there\r", "ann: hi bobby there"),
        ):
            terminal.type(typed)
            terminal.shows(completed)
            terminal.type(rest)
            terminal.shows(answer)
        terminal.type("/quit\r")
        assert terminal.exit_code() == 0


def test_a_pasted_text_is_one_message(chat_server: ServerProcess) -> None:
    with Terminal("connect", chat_server.url, "--nickname", "ann") as terminal:
        terminal.shows("#lobby>")
        terminal.type("\x1b[200~one\n/quit\n\x1b[201~")
        terminal.shows("/quit")
        terminal.type("!\r")
        terminal.shows("ann: one")
        terminal.shows("│ /quit")
        with Client(chat_server.url) as reader:
            assert reader.history("lobby").events[-1].message == "one\n/quit\n!"
        assert terminal.leave() == 0


def test_ctrl_c_is_about_the_line(chat_server: ServerProcess) -> None:
    with Terminal("connect", chat_server.url, "--nickname", "ann") as terminal:
        terminal.shows("#lobby>")
        terminal.type("never said\x03")
        terminal.type("said\r")
        terminal.shows("ann: said")
        terminal.type("\x03")
        terminal.shows("-- /quit or Ctrl-D leaves")
        assert terminal.leave() == 0


def test_a_server_that_comes_back(chat_server: ServerProcess) -> None:
    with Terminal("connect", chat_server.url, "--nickname", "ann") as terminal:
        terminal.shows("#lobby>")
        chat_server.stop(signal.SIGKILL)
        terminal.shows("-- disconnected: 1006")
        terminal.shows("#lobby (away)>")
        terminal.type("typed while away\r/who\r")
        chat_server.start()
        terminal.shows("-- connected: reconnected as ann, user 1")
        terminal.shows("ann: typed while away")
        terminal.shows("#lobby>")
        terminal.type("again\r")
        terminal.shows("ann: again")
        assert terminal.leave() == 0


def test_colours_are_not_forced_on_anybody(chat_server: ServerProcess) -> None:
    with Terminal("connect", chat_server.url, "--nickname", "ann", environ={"NO_COLOR": "1"}) as terminal:
        terminal.shows("#lobby>")
        terminal.type("hi\r")
        terminal.shows("ann: hi")
        assert "mann" not in terminal.raw
        assert terminal.leave() == 0


def test_the_end_of_the_chat_ends_the_prompt(serve: Callable[..., ServerProcess]) -> None:
    server = serve("--max-message-size", "300")
    with Terminal("connect", server.url, "--nickname", "ann") as terminal:
        terminal.shows("#lobby>")
        terminal.type("x" * 400 + "\r")
        terminal.shows("threadchat: 1009 message too big")
        assert terminal.exit_code() == 1


def test_a_failure_that_nobody_thought_of_ends_the_prompt_too() -> None:
    class Broken(Screen):
        def do_lines(self) -> None:
            self._shell.type = fail  # type: ignore[method-assign]
            super().do_lines()

    def fail(line: str) -> None:
        raise ZeroDivisionError(line)

    chat, _ = online(FakeServer())
    with chat, create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        running = Broken(chat, colour=False)
        with pytest.raises(ZeroDivisionError, match="/join lobby"):
            running.run(["lobby"])


def test_only_so_many_lines_wait_and_a_further_one_stays(capsys: pytest.CaptureFixture[str]) -> None:
    chat, _ = online(FakeServer())
    with chat, create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        accept = Screen(chat, colour=False)._accept
        line = Buffer(document=Document("hi"))
        assert [accept(line) for _ in range(MOST_LINES + 1)] == [False] * MOST_LINES + [True]
    assert capsys.readouterr().out == "-- 100 lines are waiting; press Enter again in a moment\n"
