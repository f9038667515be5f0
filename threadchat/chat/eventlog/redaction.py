"""Removes the text of deleted messages from the files of an event log."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from threadchat.chat.eventlog.files import closed_files
from threadchat.chat.log.events import DELETE


class Redacted(NamedTuple):
    """How many messages lost their text, and in how many files."""

    messages: int
    files: int


class _Line(msgspec.Struct):
    """What decides about a line of the log."""

    id: int
    type: str
    room: str = msgspec.field(name="chatroomId", default="")
    target: int = 0
    message: str = ""


_decode = msgspec.json.Decoder(_Line).decode


def redact(logs: Sequence[str | os.PathLike[str]]) -> Redacted:
    """Removes the text of all messages that a later line of the logs says were deleted.

    Each of `logs` is the path of an event log, whose older files are found by their names. If a log was also
    renamed by another program, pass the older files first. Lines keep their places and lengths: what is
    removed becomes blanks. So the server may go on writing meanwhile. Raises OSError.
    """
    paths = [path for log in logs for path in (*closed_files(os.fspath(log)), Path(log))]
    redaction = _Redaction()
    counts = [redaction.apply(path) for path in reversed(paths)]
    return Redacted(sum(counts), sum(map(bool, counts)))


class _Redaction:
    """Goes through the lines from the newest to the oldest, and remembers what was deleted."""

    def __init__(self) -> None:
        self._deleted: dict[str, set[int]] = {}  # by room: ids of messages that come further on
        self._last: dict[str, int] = {}  # by room: the id of the line before

    def apply(self, path: Path) -> int:
        """Redacts one file. Returns the number of messages."""
        count = 0
        with path.open("r+b") as file:
            if not os.fstat(file.fileno()).st_size:
                return 0
            with mmap.mmap(file.fileno(), 0) as data:
                for start, end in _lines_backwards(data):
                    if self._is_deleted(data[start:end]):
                        data[start:end] = _without_text(data[start:end])
                        count += 1
                data.flush()
        return count

    def _is_deleted(self, text: bytes) -> bool:
        try:
            line = _decode(text)
        except msgspec.DecodeError:  # it is incomplete, or not an event
            return False
        room = line.room
        if line.id >= self._last.get(room, line.id + 1):
            self._deleted.pop(room, None)  # an earlier log of the room, with ids of its own
        self._last[room] = line.id
        if line.type == DELETE:
            self._deleted.setdefault(room, set()).add(line.target)
            return False
        deleted = self._deleted.get(room, ())
        return bool(line.message) and (line.id in deleted or line.target in deleted)


def _lines_backwards(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    """The start and the end of each complete line, the last one first."""
    end = data.rfind(b"\n")
    while end > 0:
        start = data.rfind(b"\n", 0, end) + 1
        yield start, end
        end = start - 1


def _without_text(text: bytes) -> bytes:
    """The event without its text, in as many bytes."""
    fields = msgspec.json.decode(text)
    for name in ("message", "mentions", "everybody"):
        fields.pop(name, None)
    marked = msgspec.json.encode({**fields, "deleted": True})
    shorter = marked if len(marked) <= len(text) else msgspec.json.encode(fields)
    return shorter.ljust(len(text))
