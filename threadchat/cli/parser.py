"""What all commands of the command line share: how help looks, how a mistake is told, and its exit code."""

from __future__ import annotations

import argparse
import shutil
from typing import Final, NoReturn

EXIT_USAGE: Final = 2
WIDTH: Final = 100


class Help(argparse.HelpFormatter):
    """Help as wide as the terminal, but never wider than 100 columns."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=33, width=min(WIDTH, shutil.get_terminal_size().columns))


class Parser(argparse.ArgumentParser):
    """Complains in one line, where argparse would print thirty flags first."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"threadchat: {message}; --help lists the flags\n")
