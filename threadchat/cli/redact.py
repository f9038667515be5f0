"""The command `redact`: removes the text of deleted messages from the event log."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from threadchat.cli.parser import EXIT_USAGE, Help, Parser
from threadchat.config.load import load
from threadchat.errors import ConfigError

EXIT_FAILED: Final = 1

DESCRIPTION: Final = """\
Removes the text of deleted messages from the event log. The server writes each event as it happens, so a
message stays in the file when it is deleted; the line of the deletion, which comes later, says which one it
was. The command looks through the log and the older files that the server has closed. The server may run."""

EPILOG: Final = """\
Files that another program has renamed have to be named, the oldest first: redact events.jsonl.1 events.jsonl.
Compressed files and copies are not changed."""


def main(argv: Sequence[str]) -> int:
    """Runs `redact`, the first word of `argv`.

    Returns the exit code: 0, 1 if a file cannot be read or written, 2 for wrong arguments.
    """
    arguments = parser().parse_args(argv[1:])
    try:
        log = load({}, os.environ, arguments.config).config.event_log
    except ConfigError as error:
        print(f"threadchat: {error}", file=sys.stderr)
        return EXIT_USAGE
    if not (logs := arguments.files or ([log] if log else [])):
        print("threadchat: name the event log, as there is no event_log in the settings", file=sys.stderr)
        return EXIT_USAGE
    from threadchat.chat.eventlog.redaction import redact

    try:
        done = redact(logs)
    except OSError as error:
        print(f"threadchat: {error.filename or logs[-1]}: {error.strerror or error}", file=sys.stderr)
        return EXIT_FAILED
    print(f"removed the text of {done.messages} messages in {done.files} files")
    return 0


def parser() -> Parser:
    """The arguments of `redact`."""
    made = Parser(
        prog="threadchat redact",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=Help,
        allow_abbrev=False,
    )
    made.add_argument("files", nargs="*", metavar="FILE", help="the event log (default: event_log)")
    made.add_argument("--config", metavar="FILE", help="TOML file of settings (or THREADCHAT_CONFIG)")
    return made
