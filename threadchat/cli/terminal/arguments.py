"""The arguments of `connect` and `tail`, and the exit codes that scripts rely on."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final

from threadchat.chat.log.events import EVENT_TYPES
from threadchat.cli.parser import EXIT_USAGE, Help, Parser
from threadchat.cli.terminal.constants import (
    DEFAULT_ROOM,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_REFUSED,
    EXIT_UNREACHABLE,
)
from threadchat.client.client import TIMEOUT, chat_url
from threadchat.client.in_flight import describe
from threadchat.client.positions import LARGEST_PAGE
from threadchat.client.reconnecting_connection import without_password
from threadchat.config.setting import FILE, read_secret
from threadchat.errors import BadUrl, ConfigError, ThreadchatError

DEFAULT_URL: Final = "ws://127.0.0.1:8080/chat"

CONNECT: Final = """\
Opens a chat in the terminal. If the input is not a terminal, each line of it is published in --room instead,
and the program ends once the server has acknowledged all lines."""

TAIL: Final = "Shows the events of rooms, without appearing in them."

EXITS: Final = f"""\
exit codes: {EXIT_OK} done, {EXIT_REFUSED} refused or ended by the chat, {EXIT_USAGE} wrong arguments, \
{EXIT_UNREACHABLE} the server cannot be reached, {EXIT_INTERRUPTED} Ctrl-C"""


def main(argv: Sequence[str]) -> int:
    """Runs `connect` or `tail`, the first word of `argv`; returns the exit code. Runs on: the main thread."""
    command = argv[0]
    if command == "tail":
        from threadchat.cli.terminal.tail import tail as run
    else:
        from threadchat.cli.terminal.connect import connect as run
    arguments = PARSERS[command]().parse_args(argv[1:])
    try:
        return run(arguments)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of the output, such as head, has read enough
        _discard_output()
        return EXIT_OK
    except (ConnectionError, TimeoutError) as error:  # includes a refused handshake
        return _complain(f"{without_password(arguments.url)} cannot be reached: {error}", EXIT_UNREACHABLE)
    except OSError as error:  # for example, the disk is full
        _discard_output()
        return _complain(f"reading or writing failed: {error}", EXIT_REFUSED)
    except ThreadchatError as error:
        return _complain(_in_words(error), EXIT_REFUSED)


def _discard_output() -> None:
    """Discards buffered output, which the interpreter would otherwise try to write at exit, with an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(text: str, code: int) -> int:
    print(f"threadchat: {text}", file=sys.stderr, flush=True)
    return code


def _in_words(error: ThreadchatError) -> str:
    code = getattr(error, "code", None)
    text = describe(error)
    return text if code is None or text.startswith(str(int(code))) else f"{int(code)} {text}"


def _parser(command: str, description: str) -> Parser:
    parser = Parser(
        prog=f"threadchat {command}",
        description=description,
        epilog=EXITS,
        formatter_class=Help,
        allow_abbrev=False,
    )
    parser.add_argument(
        "url",
        nargs="?",
        type=_url,
        default=DEFAULT_URL,
        help="address of the server; http://host:port works too (default: %(default)s)",
    )
    parser.add_argument(
        "--nickname", metavar="NAME", type=_text, default=login(), help="your nickname (default: %(default)s)"
    )
    parser.add_argument(
        "--token",
        type=_token,
        help="token for a server that requires one, or file:PATH; the command token creates one",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=TIMEOUT,
        help="how long each command waits for the server (default: %(default)g)",
    )
    return parser


def connect_parser() -> Parser:
    """The arguments of `connect`."""
    parser = _parser("connect", CONNECT)
    parser.add_argument(
        "--room",
        action="append",
        type=_text,
        metavar="ROOM",
        help=f"room to join, or to publish in; may be repeated in a terminal (default there: {DEFAULT_ROOM})",
    )
    return parser


def tail_parser() -> Parser:
    """The arguments of `tail`."""
    parser = _parser("tail", TAIL)
    parser.add_argument(
        "--room",
        action="append",
        type=_text,
        metavar="ROOM",
        required=True,
        help="room to follow; may be repeated",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object a line, as in the protocol"
    )
    parser.add_argument(
        "--type",
        action="append",
        choices=sorted(EVENT_TYPES),
        metavar="TYPE",
        help="show only events of this type; may be repeated",
    )
    parser.add_argument(
        "--name",
        action="append",
        type=_text,
        metavar="NAME",
        help="show only application events with this name; may be repeated",
    )
    parser.add_argument("--count", metavar="N", type=_number(1), help="end after N events")
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--history",
        metavar="N",
        type=_number(0, LARGEST_PAGE),
        default=0,
        help="begin with the N newest events of the past (default: 0)",
    )
    start.add_argument("--since", metavar="ID", type=_number(0), help="begin after the event with this id")
    return parser


PARSERS: Final[dict[str, Callable[[], Parser]]] = {"connect": connect_parser, "tail": tail_parser}


def login() -> str:
    """The login name of the person who runs the program, as a nickname."""
    try:
        return getpass.getuser()[:64] or "guest"
    except (OSError, KeyError):  # a container may run under a user id without a name
        return "guest"


def _url(text: str) -> str:
    try:
        return chat_url(text)
    except BadUrl as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _text(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it must not be empty")
    try:
        text.encode()
    except UnicodeEncodeError:  # Python represents invalid bytes of an argument as surrogates
        raise argparse.ArgumentTypeError(f"{text!a} is not UTF-8") from None
    return text


def _token(text: str) -> str:
    if not text.startswith(FILE):
        return text
    try:
        return read_secret(text.removeprefix(FILE))
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0 and at most 86400")
    return seconds


def _number(least: int, most: int | None = None) -> Callable[[str], int]:
    def read(text: str) -> int:
        if (
            not text.isascii()
            or not text.isdigit()
            or int(text) < least
            or (most is not None and int(text) > most)
        ):
            upper = "" if most is None else f" to {most}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}{upper or ' up'}")
        return int(text)

    return read
