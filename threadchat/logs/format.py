"""The format of a log line: text for people, or a JSON object for programs."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final, Protocol, runtime_checkable

from threadchat.logs.volume import BoundedHandler

_BREAKS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NUMBERED: Final = re.compile(r"connection %d( \(%s\))?")
_SERVES: Final = re.compile(r"(?:reader|writer|http|handler|producer)-(\d+)(?:-.*)?", re.DOTALL)
_LABEL: Final = re.compile(r'user (-?\d+\b|"(?:[^"\\]|\\.)*")')  # as `spelled_id` has it


@runtime_checkable
class Numbered(Protocol):
    """A connection, as it appears in the log."""

    number: int
    label: str


Connections = Callable[[], Iterable[Numbered]]
"""Returns the current connections. Runs on: any thread that logs, so code must not log while it holds a lock
that this function acquires."""


def number_of(thread_name: str) -> int | None:
    """The number of the connection that a thread with this name serves; None for other threads."""
    found = _SERVES.fullmatch(thread_name)
    return int(found[1]) if found else None


def one_line(text: str) -> str:
    """Escapes characters that break lines or move a terminal's cursor."""
    return _BREAKS.sub(lambda found: repr(found[0])[1:-1], text)


class OneLine(logging.Formatter):
    """Keeps each event on one line: escapes characters that break lines or move a terminal's cursor."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    default_msec_format = "%s.%03d"

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return one_line(text)


class AsJson(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, `thread`, and optional fields.

    `connection` is the number and `user` the user id of the connection that the event names, or whose thread
    logged it; `exception` is the traceback. Every event becomes a line, even if its arguments do not fit its
    message.
    """

    def __init__(self, connections: Connections = tuple) -> None:
        super().__init__()
        self._connections = connections

    def format(self, record: logging.LogRecord) -> str:
        # RFC 3339 requires a time zone. The time is that of the event, not of this call.
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": text_of(record),
            "thread": record.threadName,
        }
        number, label = _whose(record)
        if number is None:
            number = number_of(record.threadName or "")
        if number is not None:
            line["connection"] = number
            if user := _LABEL.match(label or self._label_of(number)):
                line["user"] = json.loads(user[1])
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self.formatException(record.exc_info)
        elif record.stack_info:
            line["exception"] = record.stack_info
        return json.dumps(line)

    def _label_of(self, number: int) -> str:
        return next((each.label for each in self._connections() if each.number == number), "")


def text_of(record: logging.LogRecord) -> str:
    """The message of an event, even if its arguments do not fit its text."""
    try:
        return record.getMessage()
    except Exception as error:  # arguments that do not fit the text, or that cannot be formatted
        text = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        return f"{text} (its arguments cannot be formatted: {type(error).__name__})"


def _whose(record: logging.LogRecord) -> tuple[int | None, str]:
    """The number and the label of the connection that an event names.

    Only the format string and the type of the arguments count, because the formatted text may contain text
    from a peer.
    """
    arguments = record.args if isinstance(record.args, tuple) else ()
    for argument in arguments:
        if isinstance(argument, Numbered):
            return argument.number, argument.label
    begun = _NUMBERED.match(record.msg) if isinstance(record.msg, str) else None
    if begun is None or not arguments or not isinstance(arguments[0], int):
        return None, ""
    return arguments[0], str(arguments[1]) if begun[1] and len(arguments) > 1 else ""


def configure_logging(level: str, form: str = "text", connections: Connections = tuple) -> None:
    """Logs events of at least `level` to stderr, one a line, within a budget. Replaces any configuration.

    `form` is text or json. `connections` is needed for JSON to name the user of the thread that logs.
    """
    handler = BoundedHandler()
    handler.setFormatter(AsJson(connections) if form == "json" else OneLine())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
