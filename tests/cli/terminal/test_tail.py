"""Covers cli/terminal/tail.py, connect.py and arguments.py: pipes, exit codes, and what goes where."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from scripts.ports import free_port
from tests.client.fakes import Doing, FakeServer, online
from tests.e2e.process import ServerProcess, command, environment, until
from threadchat.cli.main import main
from threadchat.cli.terminal import arguments
from threadchat.cli.terminal.arguments import tail_parser
from threadchat.cli.terminal.connect import publish_lines
from threadchat.cli.terminal.tail import enter, follow, newest
from threadchat.client import Client
from threadchat.errors import ThreadchatError

PATIENCE = 20.0


def run(*words: str | bytes, text: str | bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Runs `python -m threadchat` with some input."""
    data = text.encode() if isinstance(text, str) else text
    return subprocess.run(
        [*command(), *words],
        input=data,
        capture_output=True,
        timeout=PATIENCE,
        env=environment(),
        check=False,
    )


class Tail:
    """A `tail` that runs; a context manager."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            command("tail", *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        )

    def line(self) -> str:
        """The next line of its output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().rstrip("\n")

    def end(self) -> tuple[int, str]:
        """Waits for its end; exit code and what is on stderr."""
        _, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, errors.decode()

    def __enter__(self) -> Tail:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def ann(chat_server: ServerProcess) -> Iterator[Client]:
    with Client(chat_server.url, "ann") as client:
        yield client


# -- lines into a room -------------------------------------------------------------------------------


def test_each_line_of_a_pipe_is_a_message(chat_server: ServerProcess, ann: Client) -> None:
    text = b"one\n\n  \n  two \r\nd\xc3\xa9j\xc3\xa0 vu\nbroken \xff\nno newline"
    done = run("connect", chat_server.url, "--room", "ops", "--nickname", "cron", text=text)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    events = ann.history("ops").events
    assert [event.message for event in events] == ["one", "  two ", "déjà vu", "broken \ufffd", "no newline"]
    assert {event.nickname for event in events} == {"cron"}


def test_many_lines_keep_their_order(chat_server: ServerProcess, ann: Client) -> None:
    lines = [str(number) for number in range(1000)]
    done = run("connect", chat_server.url, "--room", "ops", text="\n".join(lines))
    assert done.returncode == 0
    assert [event.message for event in ann.history("ops", limit=1000).events] == lines


def test_a_line_is_published_when_it_comes_not_at_the_end(chat_server: ServerProcess, ann: Client) -> None:
    ann.subscribe("ops")
    writing = subprocess.Popen(
        command("connect", chat_server.url, "--room", "ops"), stdin=subprocess.PIPE, env=environment()
    )
    assert writing.stdin is not None
    writing.stdin.write(b"now\n")
    writing.stdin.flush()
    assert ann.next_event(PATIENCE).message == "now"
    writing.stdin.close()
    assert writing.wait(PATIENCE) == 0


def test_a_refusal_is_the_end_of_it() -> None:
    chat, link = online(FakeServer())
    with chat:
        doing = Doing(lambda: publish_lines(chat, "ops", iter(["one\n", "two\n"])))
        link.reply(link.heard("message"), offset=1)
        link.refuse(link.heard("message"), 103)
        with pytest.raises(Exception, match="no"):
            doing.result()


def test_no_acknowledgement_is_no_success() -> None:
    chat, _ = online(FakeServer())
    with chat:
        chat.timeout = 0.01
        with pytest.raises(
            TimeoutError, match=r"no reply within 0.01 s; the last lines may not have arrived"
        ):
            publish_lines(chat, "ops", ["one\n"])


# -- exit codes --------------------------------------------------------------------------------------


def test_the_chat_says_no(chat_server: ServerProcess) -> None:
    done = run("connect", chat_server.url, "--room", "/ws", text="hi")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"threadchat: 103 /ws is the broadcast endpoint's room\n"


@pytest.mark.parametrize("words", [["connect", "--room", "ops"], ["tail", "--room", "ops"]])
def test_there_is_no_server(words: list[str]) -> None:
    url = f"ws://127.0.0.1:{free_port()}/chat"
    done = run(*words, url, text="hi")
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.startswith(f"threadchat: {url} cannot be reached: ".encode())
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["connect"], "without a terminal, give exactly one --room to publish in"),
        (["connect", "--room", "a", "--room", "b"], "without a terminal, give exactly one --room"),
        (["connect", "--room", " "], "argument --room: it must not be empty"),
        (["connect", "--room", b"\xff"], "argument --room: '\\udcff' is not UTF-8"),
        (["tail", "--room", "x", "--nickname", b"\xff"], "argument --nickname: '\\udcff' is not UTF-8"),
        (["connect", "ws://ho st/"], "without spaces or control characters"),
        (["connect", "nonsense"], "argument url: 'nonsense' is not a chat address"),
        (["connect", "--prot=1"], "unrecognized arguments: --prot=1"),
        (["tail"], "the following arguments are required: --room"),
        (["tail", "--room", "x", "--count", "0"], "argument --count: '0' is not a whole number from 1 up"),
        (["tail", "--room", "x", "--history", "9999"], "'9999' is not a whole number from 0 to 1000"),
        (["tail", "--room", "x", "--since", "-1"], "argument --since: "),
        (["tail", "--room", "x", "--since", "1", "--history", "1"], "not allowed with argument --since"),
        (["tail", "--room", "x", "--timeout", "0"], "'0' is not a number of seconds above 0"),
        (["tail", "--room", "x", "--timeout", "soon"], "'soon' is not a number of seconds above 0"),
        (["tail", "--room", "x", "--type", "laugh"], "argument --type: invalid choice: 'laugh'"),
        (["--port", "1", "tail"], "tail must come first, before its flags"),
    ],
)
def test_wrong_arguments(words: list[str | bytes], complaint: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert complaint in done.stderr.decode()
    assert done.stderr.decode().startswith("threadchat: ")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("word", ["connect", "tail"])
def test_help_lists_flags_and_exit_codes(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([word, "--help"])
    assert caught.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "--nickname NAME" in out
    assert "exit codes: 0 done, 1 refused or ended by the chat, 2 wrong arguments, 3 the server" in out


def test_without_the_library_a_terminal_gets_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "prompt_toolkit", None)
    monkeypatch.delitem(sys.modules, "threadchat.cli.terminal.screen", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    assert main(["connect"]) == 2
    assert "pip install 'threadchat[terminal]'" in capsys.readouterr().err


def test_somebody_without_a_name_is_a_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", fail)
    assert arguments.login() == "guest"


# -- tail --------------------------------------------------------------------------------------------


def test_events_as_json_one_a_line_as_they_come(chat_server: ServerProcess, ann: Client) -> None:
    with Tail(chat_server.url, "--room", "ops", "--json", "--history", "1", "--count", "3") as tail:
        until(lambda: any(room.name == "ops" for room in ann.rooms()), "tail is there")
        ann.message("ops", "hi\n\x1b[2J")
        first = tail.line()
        assert json.loads(first) == {
            "type": "message",
            "id": 1,
            "chatroomId": "ops",
            "userId": ann.user,
            "from": "ann",
            "message": "hi\n\x1b[2J",
            "unixTime": json.loads(first)["unixTime"],
        }
        assert "\x1b" not in first
        ann.message("ops", "two")
        ann.message("ops", "three")
        assert [json.loads(tail.line())["message"] for _ in range(2)] == ["two", "three"]
        assert tail.end() == (0, "")
    assert ann.who("ops") == (), "tail is not seen"


def test_events_for_people_without_colours_in_a_pipe(chat_server: ServerProcess, ann: Client) -> None:
    for text in ("one", "two\nlines", "\x1b[2J"):
        ann.message("ops", text)
    done = run("tail", chat_server.url, "--room", "ops", "--history", "3", "--count", "3")
    one, two, lines, escaped = done.stdout.decode().splitlines()
    assert [line[9:] for line in (one, two, escaped)] == ["ann: one", "ann: two", "ann: \\x1b[2J"]
    assert lines == "    │ lines"


@pytest.mark.parametrize(
    ("flags", "ids"),
    [
        (["--history", "3"], [8, 9, 10]),
        (["--since", "7"], [8, 9, 10]),
        (["--since", "0"], list(range(1, 11))),
        (["--history", "4", "--type", "leave"], [10]),
    ],
)
def test_where_it_begins(flags: list[str], ids: list[int], chat_server: ServerProcess, ann: Client) -> None:
    ann.join("ops")
    for number in range(8):
        ann.message("ops", str(number))
    ann.leave("ops")
    done = run("tail", chat_server.url, "--room", "ops", "--json", *flags, "--count", str(len(ids)))
    assert done.returncode == 0
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ids


def test_a_beginning_that_is_not_there(chat_server: ServerProcess, ann: Client) -> None:
    ann.message("ops", "hi")
    done = run("tail", chat_server.url, "--room", "ops", "--since", "5")
    assert done.returncode == 1
    assert done.stderr == b"threadchat: 112 room 'ops' no longer has the events after 5; its newest is 1\n"


def test_nothing_is_missed_where_somebody_else_makes_the_room_meanwhile() -> None:
    chat, link = online(FakeServer())
    options = tail_parser().parse_args(["--room", "ops", "--since", "0"])
    with chat:
        entering = Doing(lambda: enter(chat, "ops", options))
        link.refuse(link.heard("history"), 102)
        assert link.let_in("subscribe", offset=2)["types"] == ["close"]
        link.reply(link.heard("unsubscribe"))
        assert link.let_in("subscribe", offset=0, recovered=True)["since"] == {"offset": 0, "epoch": "e"}
        assert entering.result() == []
        link.event(1, room="ops")
        assert chat.next_event(5).id == 1


def test_the_past_of_a_room_that_was_made_meanwhile() -> None:
    chat, link = online(FakeServer())
    with chat:
        asking = Doing(lambda: newest(chat, "ops", 3))
        link.refuse(link.heard("history"), 102)
        link.let_in("subscribe", offset=1)
        link.reply(link.heard("unsubscribe"))
        page = link.heard("history")
        link.reply(page, events=[{"id": 1, "chatroomId": "ops", "type": "message"}], offset=1, epoch="e")
        assert (page["limit"], [event.id for event in asking.result().events]) == (3, [1])


def test_a_room_that_lets_nobody_back_is_an_end() -> None:
    server = FakeServer()
    chat, link = online(server)
    options = tail_parser().parse_args(["--room", "ops"])
    with chat:
        following = Doing(lambda: [event.type for event in follow(chat, options)])
        link.reply(link.heard("history"), events=[], offset=0, epoch="e")
        link.let_in("subscribe", recovered=True)
        again = server.next_link()
        link.cut()
        again.welcome(resumed="proof-1")
        again.refuse(again.heard("subscribe"), 103)
        with pytest.raises(ThreadchatError, match="refuses to resume room 'ops': 103 no"):
            following.result()


def test_a_follower_who_is_thrown_out_of_the_last_room_ends() -> None:
    chat, link = online(FakeServer())
    options = tail_parser().parse_args(["--room", "ops"])
    with chat:
        following = Doing(lambda: [event.type for event in follow(chat, options)])
        link.reply(link.heard("history"), events=[], offset=0, epoch="e")
        link.let_in("subscribe", recovered=True)
        link.say(type="kicked", chatroomId="ops", reason="you were kicked out of room ops")
        with pytest.raises(ThreadchatError, match="you were kicked out of room ops"):
            following.result()


def test_output_that_cannot_be_written(chat_server: ServerProcess, ann: Client) -> None:
    ann.message("ops", "hi")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command("tail", chat_server.url, "--room", "ops", "--history", "1"),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=PATIENCE,
            env=environment(),
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(b"threadchat: reading or writing failed: [Errno 28]")
    assert done.stderr.count(b"\n") == 1


def test_several_rooms(chat_server: ServerProcess, ann: Client) -> None:
    for room in ("a", "b"):
        ann.message(room, f"in {room}")
    done = run("tail", chat_server.url, "--room", "a", "--room", "b", "--history", "1", "--count", "2")
    assert [line[9:] for line in done.stdout.decode().splitlines()] == ["#a ann: in a", "#b ann: in b"]


def test_notices_go_to_stderr(chat_server: ServerProcess, ann: Client) -> None:
    ann.message("ops", "before")
    with Tail(chat_server.url, "--room", "ops", "--json", "--history", "1") as tail:
        assert json.loads(tail.line())["message"] == "before"
        chat_server.restart()
        with Client(chat_server.url, "bob") as bob:
            until(lambda: any(room.name == "ops" for room in bob.rooms()), "tail is back")
            bob.message("ops", "after")
        assert json.loads(tail.line())["message"] == "after"
        tail.process.send_signal(signal.SIGINT)
        code, errors = tail.end()
    assert code == 130
    kinds = [line.split()[1].rstrip(":") for line in errors.splitlines()]
    assert sorted(kinds) == ["connected", "disconnected", "reset"]


def test_a_reader_that_has_enough_is_no_failure(chat_server: ServerProcess, ann: Client) -> None:
    ann.message("ops", "hi")
    reading, writing = os.pipe()
    tail = subprocess.Popen(
        command("tail", chat_server.url, "--room", "ops", "--history", "1"),
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    os.close(writing)
    with os.fdopen(reading, "rb") as output:
        assert output.readline().endswith(b"ann: hi\n")
    _, errors = tail.communicate(timeout=PATIENCE)  # though nothing else is said
    assert (tail.returncode, errors) == (0, b"")


def test_a_pipeline_as_in_the_readme(chat_server: ServerProcess) -> None:
    pipeline = (
        '"$PYTHON" -m threadchat tail "$URL" --room ops --json --since 0 --count 2 '
        '| "$PYTHON" -c \'import json, sys; [print(json.loads(line)["message"]) for line in sys.stdin]\''
    )
    extra = {"PYTHON": sys.executable, "URL": chat_server.url}
    reading = subprocess.Popen(
        ["bash", "-o", "pipefail", "-c", pipeline], stdout=subprocess.PIPE, env=environment(extra)
    )
    assert run("connect", chat_server.url, "--room", "ops", text="one\ntwo\n").returncode == 0
    out, _ = reading.communicate(timeout=PATIENCE)
    assert (reading.returncode, out) == (0, b"one\ntwo\n")
