"""`connect`: an interactive chat in the terminal, or a pipe whose lines are published in a room."""

from __future__ import annotations

import argparse
import os
import sys
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future

from threadchat.cli.parser import EXIT_USAGE
from threadchat.cli.terminal.constants import DEFAULT_ROOM, EXIT_OK
from threadchat.cli.terminal.text import wants_colour
from threadchat.client import Client, Published
from threadchat.errors import CommandError, ErrorCode


def connect(arguments: argparse.Namespace) -> int:
    """Runs the command and returns the exit code. Raises the error that ended the client."""
    # On a dumb terminal prompt_toolkit reads one line, and nothing could be shown meanwhile.
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    dumb = terminal and os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    if terminal and not dumb:
        return _talk(arguments)
    if len(arguments.room or ()) != 1:
        where = f"on a terminal that is {os.environ['TERM']} (TERM)" if dumb else "without a terminal"
        print(f"threadchat: {where}, give exactly one --room to publish in", file=sys.stderr)
        return EXIT_USAGE
    sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    with open_client(arguments) as chat:
        publish_lines(chat, arguments.room[0], sys.stdin)
    return EXIT_OK


def open_client(arguments: argparse.Namespace) -> Client:
    """The client that the arguments ask for."""
    return Client(arguments.url, arguments.nickname, token=arguments.token, timeout=arguments.timeout)


def publish_lines(chat: Client, room: str, lines: Iterable[str]) -> None:
    """Publishes each line that is not blank, in order, and returns once all are acknowledged.

    It waits for a reply only when too many are outstanding. Raises the errors of `Client.message`.
    """
    unanswered: deque[Future[Published]] = deque()
    for line in lines:
        text = line.rstrip("\r\n")
        if text.strip():
            unanswered.append(_post(chat, room, text, unanswered))
        while unanswered and unanswered[0].done():
            unanswered.popleft().result()
    for future in unanswered:
        _wait(chat, future)


def _post(chat: Client, room: str, text: str, unanswered: deque[Future[Published]]) -> Future[Published]:
    while True:
        try:
            return chat.post(room, text)
        except CommandError as error:
            if error.code != ErrorCode.TOO_MANY_REQUESTS or not unanswered:
                raise
        _wait(chat, unanswered.popleft())


def _wait(chat: Client, future: Future[Published]) -> None:
    try:
        future.result(chat.timeout)
    except TimeoutError:
        raise TimeoutError(
            f"no reply within {chat.timeout:g} s; the last lines may not have arrived"
        ) from None


def _talk(arguments: argparse.Namespace) -> int:
    try:
        from threadchat.cli.terminal.screen import Screen
    except ModuleNotFoundError as error:
        if error.name != "prompt_toolkit":
            raise
        print(
            "threadchat: a chat in the terminal needs prompt_toolkit: pip install 'threadchat[terminal]'",
            file=sys.stderr,
        )
        return EXIT_USAGE
    with open_client(arguments) as chat:
        return Screen(chat, colour=wants_colour(sys.stdout)).run(arguments.room or [DEFAULT_ROOM])
