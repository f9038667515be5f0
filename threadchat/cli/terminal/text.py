"""What a terminal shows of an event: one or more lines of text that cannot do anything but be read."""

from __future__ import annotations

import json
import os
import re
import time
import zlib
from typing import Final, TextIO

from threadchat.client import ChatEvent
from threadchat.client.protocol import NOTICES

# What moves a cursor, rings, colours, breaks lines or turns the direction of writing around: C0, DEL, C1,
# separators of lines and paragraphs, marks of direction ("Trojan Source", CVE-2021-42574), half characters.
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

DIM: Final = "2"
BOLD: Final = "1"
WARNING: Final = "33"
NAME_COLOURS: Final = ("31", "32", "33", "34", "35", "36", "91", "92", "93", "94", "95", "96")
HAPPENED: Final = {
    "join": "came",
    "leave": "left",
    "add": "has one more connection",
    "remove": "has one connection less",
    "joined": "was put into the room",
    "subscribed": "listens to the room now",
    "left": "was taken out of the room",
    "unsubscribed": "listens to the room no more",
}
CONTINUED: Final = "    │ "  # so that a message of several lines cannot look like several messages


def plain(text: str) -> str:
    """The text with everything unsafe shown as an escape, such as \\x1b."""
    return _UNSAFE.sub(lambda found: repr(found[0])[1:-1], text)


def wants_colour(stream: TextIO) -> bool:
    """Whether to colour: on a terminal that knows colours, and not against the wish of `NO_COLOR`."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def data_of(event: ChatEvent) -> str:
    """The data of an application's event, as JSON on one line."""
    return "" if event.data is None else json.dumps(event.data, ensure_ascii=False)


class Style:
    """Writes events as lines, with colours or without; the same name always has the same one."""

    def __init__(self, *, colour: bool, rooms: bool = True) -> None:
        """`rooms`: whether each line names its room."""
        self._colour = colour
        self._rooms = rooms

    def paint(self, text: str, code: str) -> str:
        """Text that is plain, in a colour."""
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def name(self, nickname: str) -> str:
        """Somebody's name, in the colour of that name."""
        shade = NAME_COLOURS[zlib.crc32(nickname.encode(errors="replace")) % len(NAME_COLOURS)]
        return self.paint(plain(nickname), shade)

    def room(self, room: str) -> str:
        """A room's name."""
        return self.paint(f"#{plain(room)}", BOLD)

    def message(self, text: str) -> str:
        """What somebody said; its further lines are set off."""
        return f"\n{CONTINUED}".join(plain(line) for line in re.split("\r\n|\r|\n", text))

    def event(self, event: ChatEvent) -> str:
        """An event, for people."""
        if event.type in NOTICES:
            where = f" #{plain(event.room)}" if event.room else ""
            return self.paint(f"-- {event.type}{where}: {plain(event.message)}", WARNING)
        moment = self.paint(time.strftime("%H:%M:%S", time.localtime(event.time or None)), DIM)
        place = f" {self.room(event.room)}" if self._rooms and event.room else ""
        return f"{moment}{place} {self._what(event)}"

    def _what(self, event: ChatEvent) -> str:
        who = self.name(event.nickname or str(event.user or "somebody"))
        if event.deleted:
            return f"{who}: {self.paint('(deleted)', DIM)}"
        if event.type == "message":
            return f"{who}: {self.message(event.message)}"
        if event.type == "direct":
            whose = f"{self.paint('private from', BOLD)} {who} ({plain(str(event.user))})"
            return f"{whose}: {self.message(event.message)}"
        if event.type in ("event", "close"):
            words = "the room was closed" if event.type == "close" else plain(data_of(event))
            return f"{self.paint(plain(event.name), BOLD)} {self.paint(words, DIM)}".lstrip()
        if event.type == "delete":
            return f"{who} {self.paint(f'deleted message {event.target}', DIM)}"
        happened = HAPPENED.get(event.type, plain(event.type))
        return f"{who} {self.paint(happened, DIM)} {self.message(event.message)}".rstrip()
