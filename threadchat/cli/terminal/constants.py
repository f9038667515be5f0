"""The exit codes of `connect` and `tail`, which scripts rely on, and the default room."""

from __future__ import annotations

from typing import Final

EXIT_OK: Final = 0
EXIT_REFUSED: Final = 1
EXIT_UNREACHABLE: Final = 3
EXIT_INTERRUPTED: Final = 130  # what shells report for a SIGINT

DEFAULT_ROOM: Final = "lobby"
