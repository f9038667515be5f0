"""Carries out what is typed into the terminal client: messages, and commands that begin with a slash."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from threadchat.chat.log.events import Position, UserId
from threadchat.cli.terminal.text import DIM, WARNING, Style, plain
from threadchat.client import ChatEvent, Client
from threadchat.client.event import KICKED, REFUSED, RESET
from threadchat.errors import CommandError, ErrorCode
from threadchat.normalize import nfc

MOST_PEOPLE: Final = 1000
"""People whose names are remembered; above it, the people seen least recently are forgotten."""
RECENT: Final = 10  # past events that are shown when a room is joined


class Quit(Exception):  # not an error
    """The user wants to leave."""


class Mistake(Exception):
    """A line that cannot be carried out; the text says why."""


class Shell:
    """The state of one person's chat: the current room, the known rooms, and the people seen so far.

    `show` is called with each line of output. Runs on: the thread that carries out lines, except `event`,
    which runs on the thread that takes events. Shared attributes are replaced or changed in single atomic
    steps.
    """

    def __init__(self, chat: Client, style: Style, show: Callable[[str], None]) -> None:
        self.chat = chat
        self.room = ""  # the current room, where messages go; empty for none
        self.known_rooms: frozenset[str] = frozenset()  # for completion
        self._style = style
        self._show = show
        self._people: OrderedDict[UserId, str] = OrderedDict()
        self._messages: OrderedDict[tuple[str, UserId | None], int] = OrderedDict()  # the latest, by room
        self._epochs: dict[str, str] = {}  # of the logs, by room

    # What is typed

    def type(self, line: str) -> None:
        """Carries out one line. Raises Quit, and the error that ended the client or its connection."""
        try:
            if line.startswith("/") and not line.startswith("//"):
                word, _, rest = line.partition(" ")
                self._command(word)(self, rest.strip())
            elif line.strip():
                self._say(line.removeprefix("/") if line.startswith("//") else line)
        except Mistake as mistake:
            self._warn(str(mistake), line)
        except CommandError as error:
            again = "; try again" if error.temporary else ""
            self._warn(f"refused: {error.reason} ({int(error.code)}){again}", line)
        except TimeoutError as error:
            self._warn(str(error), line)

    def _command(self, word: str) -> Callable[[Shell, str], None]:
        if word not in COMMANDS:
            raise Mistake(
                f"{word} is not a command; /help lists them; // begins a message that starts with /"
            )
        return COMMANDS[word][0]

    def _say(self, text: str) -> None:
        if not self.room:
            raise Mistake("you are in no room; /join ROOM joins one")
        self.chat.message(self.room, text)

    def join(self, room: str) -> None:
        """Joins a room, or switches to it if it is joined already."""
        if not room:
            raise Mistake("/join needs a room: /join lobby")
        room = nfc(room.removeprefix("#"))
        if room not in self.chat.joined:
            for event in self._enter(room):
                self.event(event)
        self.room = room
        self.known_rooms |= {room}
        self._show(f"{self._style.room(room)}: {self._present(room)}")

    def _enter(self, room: str) -> tuple[ChatEvent, ...]:
        """Joins a room at the end of the history that is returned, so that no event is missed or repeated."""
        try:
            page = self.chat.history(room, limit=RECENT)
        except CommandError as error:
            if error.code != ErrorCode.UNKNOWN_ROOM:
                raise
            self._epochs[room] = self.chat.join(room).epoch
            return ()
        self.chat.join(room, (page.offset, page.epoch))
        self._epochs[room] = page.epoch
        return page.events

    def _leave(self, room: str) -> None:
        room = nfc(room.removeprefix("#")) or self.room
        if room not in self.chat.joined:
            raise Mistake(f"you are not in {plain(room) or 'any room'}")
        self.chat.leave(room)
        if room == self.room:
            self.room = next(iter(self.chat.joined), "")
        self._show(
            f"left {self._style.room(room)}"
            + (f"; now in {self._style.room(self.room)}" if self.room else "")
        )

    def _direct(self, rest: str) -> None:
        name, _, text = rest.partition(" ")
        if not text.strip():
            raise Mistake("/msg needs a name or a number, and a text: /msg ann hello")
        to = self._find(name)
        words = "private, waits for" if self.chat.direct(to, text).stored else "private to"
        self._show(
            f"{self._style.paint(words, DIM)} {plain(name)} ({plain(str(to))}): {self._style.message(text)}"
        )

    def _block(self, name: str) -> None:
        if name:
            self.chat.block(self._find(name))
            self._show(f"private messages from {plain(name)} are refused from now on")
            return
        ids = [f"{plain(self._people.get(user, ''))} ({plain(str(user))})" for user in self.chat.blocked()]
        self._show("you block " + (", ".join(ids) or "nobody"))

    def _unblock(self, name: str) -> None:
        if not name:
            raise Mistake("/unblock needs a name or a number: /unblock ann")
        self.chat.unblock(self._find(name))
        self._show(f"private messages from {plain(name)} are taken again")

    def _find(self, name: str) -> UserId:
        asked = nfc(name)
        found = [user for user, nickname in list(self._people.items()) if nickname == asked]
        if len(found) > 1:
            numbers = ", ".join(map(str, found))
            raise Mistake(f"several people are called {plain(name)}; use a number: {numbers}")
        if found:
            return found[0]
        if name in self._people:
            return name  # an id that is text
        if name.startswith("@") and len(name) > 1:
            return name[1:]
        if name.isascii() and name.removeprefix("-").isdigit():
            return int(name)
        raise Mistake(
            f"nobody here is called {plain(name)}; /who lists the people of a room, with their ids; "
            "for an id that is text, write @ID"
        )

    def _who(self, room: str) -> None:
        room = room.removeprefix("#") or self.room
        if not room:
            raise Mistake("/who needs a room: /who lobby")
        self._show(f"{self._style.room(room)}: {self._present(room)}")

    def _present(self, room: str) -> str:
        people = self.chat.who(room)
        for person in people:
            self._meet(person.id, person.nickname)
        names = ", ".join(f"{self._style.name(person.nickname)} ({person.id})" for person in people)
        return (names or "nobody") + (", and more" if people.more else "")

    def _rooms(self, rest: str) -> None:
        rooms = self.chat.rooms()
        self.known_rooms |= {room.name for room in rooms}
        for room in rooms:
            here = " *" if room.name == self.room else ""
            self._show(f"{self._style.room(room.name)}: {room.people} people, {room.offset} events{here}")
        if not rooms:
            self._show("there are no rooms yet; /join creates one")
        if rooms.more:
            self._show("and more rooms, with fewer people")

    def _history(self, rest: str) -> None:
        if not self.room:
            raise Mistake("you are in no room; /join ROOM joins one")
        if rest and not (rest.isascii() and rest.isdigit() and 1 <= int(rest) <= 1000):
            raise Mistake("/history takes a number from 1 to 1000")
        for event in self.chat.history(self.room, limit=int(rest or 20)).events:
            self._show(self._style.event(event))

    def _nick(self, nickname: str) -> None:
        if not nickname:
            raise Mistake(f"you are {plain(self.chat.nickname)}; /nick NAME takes another name")
        self.chat.profile(nickname)
        self._show(f"you are {self._style.name(nickname)} now")

    def _help(self, rest: str) -> None:
        for word, (_, arguments, text) in COMMANDS.items():
            self._show(f"{word} {arguments}".ljust(18) + text)
        self._show("Anything else is sent to the room. Tab completes; Ctrl-D leaves.")

    def _quit(self, rest: str) -> None:
        raise Quit

    # Messages that exist

    def _edit(self, text: str) -> None:
        if not text:
            raise Mistake("/edit needs a text: /edit hello")
        event, epoch = self._latest(self.chat.user)
        self.chat.edit(self.room, event, text, epoch=epoch)

    def _delete(self, rest: str) -> None:
        event, epoch = self._latest(self.chat.user)
        self.chat.delete(self.room, event, epoch=epoch)

    def _reply(self, rest: str) -> None:
        name, _, text = rest.partition(" ")
        if not text.strip():
            raise Mistake("/reply needs a name or a number, and a text: /reply ann hello")
        event, epoch = self._latest(self._find(name))
        self.chat.message(self.room, text, reply_to=event, epoch=epoch)

    def _react(self, rest: str) -> None:
        emoji, _, name = rest.partition(" ")
        if not emoji:
            raise Mistake("/react needs an emoji, and maybe a name: /react \N{THUMBS UP SIGN} ann")
        event, epoch = self._latest(self._find(name) if name else None)
        self.chat.react(self.room, event, emoji, epoch=epoch)

    def _latest(self, user: UserId | None) -> Position:
        """The latest message in this room: of one user, or with None of anybody.

        The epoch is empty if the room has had a new log since it was joined.
        """
        event = self._messages.get((self.room, user))
        if event is None:
            raise Mistake("there is no such message here")
        return Position(event, self._epochs.get(self.room, ""))

    def _note(self, event: ChatEvent) -> None:
        """Remembers the latest messages, and forgets those of a room that has a new log."""
        if event.type == RESET:
            self._epochs.pop(event.room, None)
            for key in [key for key in list(self._messages) if key[0] == event.room]:
                self._messages.pop(key, None)
        elif event.type == "message" and event.id and not event.deleted:
            for user in (event.user, None):
                self._messages[event.room, user] = event.id
                self._messages.move_to_end((event.room, user))
            while len(self._messages) > MOST_PEOPLE:
                self._messages.popitem(last=False)

    # Events

    def event(self, event: ChatEvent) -> None:
        """Shows an event. Runs on: any one thread."""
        if event.type in ("typing", "read"):
            return
        self._note(event)
        if event.user is not None and event.nickname:
            self._meet(event.user, event.nickname)
        if event.type in (REFUSED, KICKED) and event.room == self.room:
            self.room = ""
        self._show(self._style.event(event))

    @property
    def names(self) -> list[str]:
        """The nicknames seen so far, most recent first; for completion."""
        return list(dict.fromkeys(reversed(list(self._people.values()))))

    def _meet(self, user: UserId, nickname: str) -> None:
        self._people[user] = nickname
        self._people.move_to_end(user)
        while len(self._people) > MOST_PEOPLE:
            self._people.popitem(last=False)

    def _warn(self, text: str, line: str) -> None:
        """Shows what is wrong, together with the line that was typed, which is no longer on the screen."""
        self._show(self._style.paint(f"-- {plain(line)}: {plain(text)}", WARNING))


COMMANDS: Final[dict[str, tuple[Callable[[Shell, str], None], str, str]]] = {
    "/join": (Shell.join, "ROOM", "joins a room, or switches to one that you are in"),
    "/leave": (Shell._leave, "[ROOM]", "leaves this room, or another one"),
    "/msg": (Shell._direct, "NAME TEXT", "sends a private message to one person"),
    "/block": (Shell._block, "[NAME]", "refuses private messages from somebody, or lists whom you block"),
    "/unblock": (Shell._unblock, "NAME", "takes them again"),
    "/reply": (Shell._reply, "NAME TEXT", "answers the latest message of somebody"),
    "/edit": (Shell._edit, "TEXT", "changes your latest message"),
    "/delete": (Shell._delete, "", "deletes your latest message"),
    "/react": (Shell._react, "EMOJI [NAME]", "reacts to the latest message, or to that of somebody"),
    "/who": (Shell._who, "[ROOM]", "lists the people in a room"),
    "/rooms": (Shell._rooms, "", "lists the rooms"),
    "/history": (Shell._history, "[N]", "shows the last 20 events, or the last N"),
    "/nick": (Shell._nick, "NAME", "changes your nickname"),
    "/help": (Shell._help, "", "shows this list"),
    "/quit": (Shell._quit, "", "leaves the chat"),
}
