"""The command `docs`: shows a topic of the documentation in the terminal, or opens it in a browser."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Sequence
from typing import Final

from threadchat.cli.parser import EXIT_USAGE, Help, Parser
from threadchat.docs import terminal, topics

DEFAULT_URL: Final = "http://127.0.0.1:8080"
EXIT_UNREACHABLE: Final = 3
TIMEOUT: Final = 5
"""Seconds."""

DESCRIPTION: Final = """\
Shows a topic of the documentation; without one, lists the topics. In a terminal a long topic opens in the
pager (PAGER, or less)."""


def main(argv: Sequence[str]) -> int:
    """Runs `docs`, the first word of `argv`. Returns 0, 2 for an unknown topic, or 3 without a server."""
    arguments = parser().parse_args(argv[1:])
    topic: str | None = arguments.topic
    if topic is not None and topic not in topics.TOPICS:
        meant = topics.nearest(topic)
        hint = f"did you mean {meant}?" if meant else "python -m threadchat docs lists them"
        print(f"threadchat: there is no topic {topic}; {hint}", file=sys.stderr)
        return EXIT_USAGE
    if arguments.web:
        if topic in topics.GROUPS["The project"]:
            print(f"threadchat: servers do not show {topic}; leave --web out", file=sys.stderr)
            return EXIT_USAGE
        return _open(f"{arguments.url.rstrip('/')}/docs/{topic or ''}")
    styled = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    if topic is None:
        _page(terminal.contents(styled=styled) + "Show one with: python -m threadchat docs TOPIC\n")
    else:
        width = shutil.get_terminal_size().columns
        _page(terminal.show(topics.read(topic), width, styled=styled))
    return 0


def parser() -> Parser:
    """The arguments of `docs`."""
    made = Parser(prog="threadchat docs", description=DESCRIPTION, formatter_class=Help, allow_abbrev=False)
    made.add_argument("topic", nargs="?", metavar="TOPIC", help="such as start-flask; none lists all topics")
    made.add_argument("--web", action="store_true", help="open the page of a running server in a browser")
    made.add_argument("--url", default=DEFAULT_URL, help="that server (default: %(default)s)")
    return made


def _open(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT):
            pass
    except (OSError, ValueError) as error:
        why = error.reason if isinstance(error, urllib.error.URLError) else error
        print(
            f"threadchat: {url} cannot be opened: {why}; start a server with python -m threadchat, or name "
            "one with --url",
            file=sys.stderr,
        )
        return EXIT_UNREACHABLE
    if not webbrowser.open(url):
        print(f"there is no browser to start; the page is at {url}")
    return 0


def _page(text: str) -> None:
    """Shows the text in a pager, or prints it if the output is no terminal or no pager starts."""
    if sys.stdout.isatty() and sys.stdin.isatty():
        environ = {"LESS": "-FRX", **os.environ}  # F: a short text needs no pager
        try:
            command = shlex.split(os.environ.get("PAGER", "")) or ["less"]
            subprocess.run(command, input=text.encode(), env=environ, check=False)
            return
        except (OSError, ValueError):
            pass
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:  # head has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
