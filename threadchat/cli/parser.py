"""What all commands share: the layout of help, the message for a wrong argument, and its exit code."""

from __future__ import annotations

import argparse
import shutil
from typing import Final, NoReturn

EXIT_USAGE: Final = 2
WIDTH: Final = 100


class Help(argparse.HelpFormatter):
    """Formats help as wide as the terminal, up to 100 columns."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=33, width=min(WIDTH, shutil.get_terminal_size().columns))


class Parser(argparse.ArgumentParser):
    """Reports an error in one line; argparse would print all flags before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"threadchat: {message}; --help lists the flags\n")
