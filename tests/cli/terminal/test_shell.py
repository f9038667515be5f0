"""Covers threadchat/cli/terminal/shell.py: every command, against a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.process import ServerProcess
from threadchat.cli.terminal import shell
from threadchat.cli.terminal.shell import COMMANDS, Quit, Shell
from threadchat.cli.terminal.text import Style
from threadchat.client import ChatEvent, Client
from threadchat.client.commands import Listing
from threadchat.errors import ConnectionClosed


class Typist:
    """Somebody at a shell, and what was shown to them."""

    def __init__(self, url: str, nickname: str) -> None:
        self.chat = Client(url, nickname)
        self.lines: list[str] = []
        self.shell = Shell(self.chat, Style(colour=False), self.lines.append)

    def type(self, line: str) -> list[str]:
        """Types a line; returns what is shown for it."""
        self.lines.clear()
        self.shell.type(line)
        return self.lines

    def happens(self) -> str:
        """The next event as it is shown, without its time."""
        self.lines.clear()
        self.shell.event(self.chat.next_event(10))
        return self.lines[0][9:]


@pytest.fixture
def sit(chat_server: ServerProcess) -> Iterator[Callable[[str], Typist]]:
    """Sits people down."""
    people: list[Typist] = []

    def one(nickname: str) -> Typist:
        people.append(Typist(chat_server.url, nickname))
        return people[-1]

    yield one
    for person in people:
        person.chat.close()


def test_messages_are_changed_answered_and_reacted_to(sit: Callable[[str], Typist]) -> None:
    ann, bob = sit("ann"), sit("bob")
    ann.type("/join den")
    bob.type("/join den")
    ann.type("helo")
    for person, count in ((ann, 3), (bob, 2)):
        for _ in range(count):
            person.happens()
    ann.type("/edit hello")
    assert bob.happens().endswith("ann changed message 3: hello")
    bob.type("/reply ann hi!")
    assert bob.happens().endswith("bob (to message 3): hi!")
    bob.type("/react 🎉 ann")
    assert bob.happens().endswith("bob reacted to message 3 🎉")
    bob.type("/react 🎲")
    assert bob.happens().endswith("bob reacted to message 5 🎲")
    ann.type("/delete")
    assert bob.happens().endswith("ann deleted message 3")
    assert [line[9:] for line in ann.type("/history 7")] == [
        "#den ann: (deleted)",
        "#den ann changed message 3",
        "#den bob (to message 3): hi! 🎲1",
        "#den bob reacted to message 3 🎉",
        "#den bob reacted to message 5 🎲",
        "#den ann deleted message 3",
    ] or ann.lines[0][9:] == "#den bob joined"


@pytest.mark.parametrize(
    "line", ["/edit", "/edit x", "/delete", "/react", "/react 🎉", "/reply ann", "/reply 7 hi"]
)
def test_what_is_not_there_is_not_changed(sit: Callable[[str], Typist], line: str) -> None:
    ann = sit("ann")
    ann.type("/join alone")
    [shown] = ann.type(line)
    assert shown.startswith(f"-- {line}: ")
    ann.shell.event(ChatEvent(type="message", id=9, room="alone", user=ann.chat.user, message="old"))
    ann.shell.event(ChatEvent(type="reset", room="alone", message="a new log"))
    assert ann.type("/edit x") == ["-- /edit x: there is no such message here"]


def test_a_conversation(sit: Callable[[str], Typist]) -> None:
    ann, bob = sit("ann"), sit("bob")
    assert ann.type("/join lobby") == ["#lobby: ann (1)"]
    assert ann.happens() == "#lobby ann joined"
    assert ann.type("hello") == []
    assert ann.happens() == "#lobby ann: hello"
    past = bob.type("/join #lobby")
    assert [line[9:] for line in past[:-1]] == ["#lobby ann joined", "#lobby ann: hello"]
    assert past[-1] in ("#lobby: ann (1), bob (2)", "#lobby: ann (1)")
    assert ann.happens() == bob.happens() == "#lobby bob joined"
    bob.type("//not a command")
    assert ann.happens() == "#lobby bob: /not a command"
    assert ann.type("/msg bob psst  x") == ["private to bob (2): psst  x"]
    bob.happens()
    assert bob.happens() == "private from ann (1): psst  x"
    assert bob.type("/msg 1 yes?") == ["private to 1 (1): yes?"]
    assert ann.happens() == "private from bob (2): yes?"
    assert ann.shell.names == ["bob", "ann"]


def test_blocking_somebody(sit: Callable[[str], Typist]) -> None:
    ann, bob = sit("ann"), sit("bob")
    bob.type("/join lobby")
    ann.type("/join lobby")
    assert ann.type("/block") == ["you block nobody"]
    assert ann.type("/block bob") == ["private messages from bob are refused from now on"]
    assert ann.type("/block") == ["you block bob (2)"]
    assert "is not online" in bob.type("/msg 1 psst")[0]
    assert ann.type("/unblock 2") == ["private messages from 2 are taken again"]
    assert bob.type("/msg 1 psst") == ["private to 1 (1): psst"]


def test_lists_say_where_there_is_more(sit: Callable[[str], Typist], monkeypatch: pytest.MonkeyPatch) -> None:
    ann = sit("ann")
    ann.type("/join lobby")
    rooms, people = ann.chat.rooms(), ann.chat.who("lobby")
    assert (rooms.more, people.more) == (False, False)
    monkeypatch.setattr(ann.chat, "rooms", lambda: Listing(rooms, True))
    monkeypatch.setattr(ann.chat, "who", lambda room: Listing(people, True))
    assert ann.type("/rooms") == ["#lobby: 1 people, 1 events *", "and more rooms, with fewer people"]
    assert ann.type("/who") == ["#lobby: ann (1), and more"]


def test_rooms(sit: Callable[[str], Typist]) -> None:
    ann = sit("ann")
    assert ann.type("/rooms") == ["there are no rooms yet; /join creates one"]
    ann.type("/join lobby")
    ann.type("/join garden")
    assert ann.type("/rooms") == ["#garden: 1 people, 1 events *", "#lobby: 1 people, 1 events"]
    assert ann.type("/join lobby") == ["#lobby: ann (1)"], "one turns to a room that one is in"
    assert ann.type("/who garden") == ["#garden: ann (1)"]
    assert ann.type("/who") == ["#lobby: ann (1)"]
    assert ann.type("/leave") == ["left #lobby; now in #garden"]
    assert ann.type("/who lobby") == ["#lobby: nobody"]
    assert ann.type("/leave garden") == ["left #garden"]
    assert ann.type("hello") == ["-- hello: you are in no room; /join ROOM joins one"]
    assert ann.shell.known_rooms == {"lobby", "garden"}


def test_history_and_names(sit: Callable[[str], Typist]) -> None:
    ann = sit("ann")
    ann.type("/join lobby")
    for number in range(30):
        ann.type(str(number))
    assert [line[9:] for line in ann.type("/history 2")] == ["#lobby ann: 28", "#lobby ann: 29"]
    assert len(ann.type("/history")) == 20
    assert ann.type("/nick anna") == ["you are anna now"]
    ann.type("hi")
    assert ann.type("/history 1")[0][9:] == "#lobby anna: hi"


def test_bytes_that_are_no_text_are_not_sent(sit: Callable[[str], Typist]) -> None:
    """A terminal's input has half characters for them."""
    ann = sit("ann")
    ann.type("/join lobby")
    for line in ("\udcff", "/join \udcff", "/nick \udcff"):
        [shown] = ann.type(line)
        assert "refused: " in shown
        assert "cannot be sent: " in shown
    ann.type("hi")
    assert ann.type("/history 1")[0][9:] == "#lobby ann: hi"


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("/foo", "/foo is not a command; /help lists them; // begins a message that starts with /"),
        ("/join", "/join needs a room: /join lobby"),
        ("/join  ", "/join needs a room: /join lobby"),
        ("/leave", "you are not in any room"),
        ("/leave x", "you are not in x"),
        ("/msg", "/msg needs a name or a number, and a text: /msg ann hello"),
        ("/msg ann", "/msg needs a name or a number, and a text: /msg ann hello"),
        (
            "/msg cy hi",
            "nobody here is called cy; /who lists the people of a room, with their ids; "
            "for an id that is text, write @ID",
        ),
        ("/msg @cy hi", "refused: user cy is not online (108)"),
        ("/msg 77 hi", "refused: user 77 is not online (108)"),
        ("/msg -77 hi", "refused: user -77 is not online (108)"),
        (
            "/block cy",
            "nobody here is called cy; /who lists the people of a room, with their ids; "
            "for an id that is text, write @ID",
        ),
        ("/unblock", "/unblock needs a name or a number: /unblock ann"),
        ("/who", "/who needs a room: /who lobby"),
        ("/who x", "refused: there is no room x (102)"),
        ("/history", "you are in no room; /join ROOM joins one"),
        ("/nick", "you are ann; /nick NAME takes another name"),
        ("/join /ws", "refused: /ws is the broadcast endpoint's room (103)"),
        ("/fo\x1bo", "/fo\\x1bo is not a command; /help lists them; // begins a message that starts with /"),
    ],
)
def test_mistakes(line: str, answer: str, sit: Callable[[str], Typist]) -> None:
    ann = sit("ann")
    [shown] = ann.type(line)
    typed = line.replace("\x1b", "\\x1b")
    assert shown.startswith(f"-- {typed}: ")
    if "no room x" not in answer:
        assert shown == f"-- {typed}: {answer}"


@pytest.mark.parametrize("number", ["0", "x", "1001", "-1"])
def test_history_takes_numbers(number: str, sit: Callable[[str], Typist]) -> None:
    ann = sit("ann")
    ann.type("/join lobby")
    assert ann.type(f"/history {number}") == [f"-- /history {number}: /history takes a number from 1 to 1000"]


def test_two_people_of_one_name(sit: Callable[[str], Typist]) -> None:
    ann, *_ = sit("ann"), sit("bob"), sit("bob")
    for user in (2, 3):
        ann.shell.event(ChatEvent(type="join", room="lobby", user=user, nickname="bob"))
    assert ann.type("/msg bob hi") == ["-- /msg bob hi: several people are called bob; use a number: 2, 3"]
    assert ann.type("/msg 3 hi") == ["private to 3 (3): hi"]


def test_help_lists_every_command_and_quit_quits(sit: Callable[[str], Typist]) -> None:
    ann = sit("ann")
    assert [line.split()[0] for line in ann.type("/help")[:-1]] == list(COMMANDS)
    with pytest.raises(Quit):
        ann.type("/quit")


def test_blank_lines_and_typing_are_nothing(sit: Callable[[str], Typist]) -> None:
    ann = sit("ann")
    assert ann.type("   ") == []
    ann.shell.event(ChatEvent(type="typing", room="lobby", user=2, nickname="bob"))
    assert ann.lines == []


def test_only_so_many_people_are_remembered(
    sit: Callable[[str], Typist], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell, "MOST_PEOPLE", 2)
    ann = sit("ann")
    for user, nickname in ((1, "x"), (2, "y"), (1, "x"), (3, "z")):
        ann.shell.event(ChatEvent(type="join", room="lobby", user=user, nickname=nickname))
    assert ann.shell.names == ["z", "x"]


def test_a_room_that_refuses_is_no_place_to_talk(sit: Callable[[str], Typist]) -> None:
    ann = sit("ann")
    ann.type("/join lobby")
    ann.shell.event(ChatEvent(type="kicked", room="other", message="out"))
    assert ann.shell.room == "lobby"
    ann.shell.event(ChatEvent(type="refused", room="lobby", message="103 no"))
    assert ann.lines[-1] == "-- refused #lobby: 103 no"
    assert ann.shell.room == ""
    ann.type("/join lobby")
    ann.shell.event(ChatEvent(type="kicked", room="lobby", message="out"))
    assert ann.lines[-1] == "-- kicked #lobby: out"
    assert ann.shell.room == ""


def test_the_end_of_the_client_is_not_swallowed(sit: Callable[[str], Typist]) -> None:
    ann = sit("ann")
    ann.chat.close()
    with pytest.raises(ConnectionClosed):
        ann.type("/rooms")


def test_what_takes_too_long_is_told(sit: Callable[[str], Typist], chat_server: ServerProcess) -> None:
    ann = sit("ann")
    chat_server.stop()
    assert ann.chat.next_event(10).type == "disconnected"
    ann.chat.timeout = 0.01
    [line] = ann.type("/rooms")
    assert line.startswith("-- /rooms: rooms could not be sent within 0.01 s; not connected: ")
