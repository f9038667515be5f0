"""Formats events for a terminal, as lines of text without control characters."""

from __future__ import annotations

import json
import os
import re
import time
import zlib
from typing import Final, TextIO

from threadchat.client import ChatEvent
from threadchat.client.event import NOTICES

# Characters that move the cursor, ring the bell, set colours, break lines or change the writing direction:
# C0, DEL, C1, line and paragraph separators, bidi controls ("Trojan Source", CVE-2021-42574), surrogates.
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

DIM: Final = "2"
BOLD: Final = "1"
WARNING: Final = "33"
NAME_COLOURS: Final = ("31", "32", "33", "34", "35", "36", "91", "92", "93", "94", "95", "96")
HAPPENED: Final = {
    "join": "joined",
    "leave": "left",
    "add": "opened another connection",
    "remove": "closed a connection",
    "rename": "is now called",
    "joined": "was added to the room",
    "subscribed": "was subscribed to the room",
    "left": "was removed from the room",
    "unsubscribed": "was unsubscribed from the room",
}
CHANGED: Final = {
    "edit": "changed",
    "delete": "deleted",
    "react": "reacted to",
    "unreact": "took back the reaction to",
}
CONTINUED: Final = "    │ "  # so that a message of several lines cannot look like several messages


def plain(text: str) -> str:
    """The text with each unsafe character replaced by an escape such as \\x1b."""
    return _UNSAFE.sub(lambda found: repr(found[0])[1:-1], text)


def wants_colour(stream: TextIO) -> bool:
    """Whether to use colours: only on a terminal that supports them, and not if `NO_COLOR` is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def data_of(event: ChatEvent) -> str:
    """The data of an application's event, as JSON on one line."""
    return "" if event.data is None else json.dumps(event.data, ensure_ascii=False)


class Style:
    """Formats events as lines, with or without colours; a nickname always has the same colour."""

    def __init__(self, *, colour: bool, rooms: bool = True) -> None:
        """`rooms`: whether each line names its room."""
        self._colour = colour
        self._rooms = rooms

    def paint(self, text: str, code: str) -> str:
        """Text in a colour, if colours are in use."""
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def name(self, nickname: str) -> str:
        """A nickname, in its colour."""
        shade = NAME_COLOURS[zlib.crc32(nickname.encode(errors="replace")) % len(NAME_COLOURS)]
        return self.paint(plain(nickname), shade)

    def room(self, room: str) -> str:
        """A room's name."""
        return self.paint(f"#{plain(room)}", BOLD)

    def message(self, text: str) -> str:
        """The text of a message; all lines but the first are indented."""
        return f"\n{CONTINUED}".join(plain(line) for line in re.split("\r\n|\r|\n", text))

    def event(self, event: ChatEvent) -> str:
        """An event as text for people."""
        if event.type in NOTICES:
            where = f" #{plain(event.room)}" if event.room else ""
            return self.paint(f"-- {event.type}{where}: {plain(event.message)}", WARNING)
        moment = self.paint(time.strftime("%H:%M:%S", time.localtime(event.time or None)), DIM)
        place = f" {self.room(event.room)}" if self._rooms and event.room else ""
        return f"{moment}{place} {self._what(event)}"

    def _what(self, event: ChatEvent) -> str:
        who = self.name(event.nickname or str(event.user or "somebody"))
        if event.type in ("edit", "react", "unreact", "delete"):
            return f"{who} {self._change(event)}"
        if event.deleted:
            return f"{who}: {self.paint('(deleted)', DIM)}"
        if event.type == "message":
            return f"{who}{self._answers(event)}: {self.message(event.message)}{self._became(event)}"
        if event.type == "direct":
            whose = f"{self.paint('private from', BOLD)} {who} ({plain(str(event.user))})"
            return f"{whose}: {self.message(event.message)}"
        if event.type in ("event", "close"):
            words = "the room was closed" if event.type == "close" else plain(data_of(event))
            return f"{self.paint(plain(event.name), BOLD)} {self.paint(words, DIM)}".lstrip()
        if event.type == "rename":
            who = self.name(event.was)
        happened = HAPPENED.get(event.type, plain(event.type))
        called = self.name(event.nickname) if event.type == "rename" else self.message(event.message)
        return f"{who} {self.paint(happened, DIM)} {called}".rstrip()

    def _change(self, event: ChatEvent) -> str:
        """What somebody did with the message `target`."""
        words = self.paint(f"{CHANGED[event.type]} message {event.target}", DIM)
        if event.type == "edit" and event.message:
            return f"{words}: {self.message(event.message)}"
        return f"{words} {plain(event.emoji)}".rstrip()

    def _answers(self, event: ChatEvent) -> str:
        return self.paint(f" (to message {event.reply_to})", DIM) if event.reply_to else ""

    def _became(self, event: ChatEvent) -> str:
        """What became of a message since it was sent."""
        edited = self.paint(" (edited)", DIM) if event.edited else ""
        reactions = "".join(f" {plain(emoji)}{len(users)}" for emoji, users in event.reactions.items())
        return edited + reactions
