"""threadchat as its command line starts it, plus a command of an application: `emit`.

Takes the arguments of `python -m threadchat`; what is measured differs from that by the command alone.
"""

from __future__ import annotations

import sys
from typing import Any

import threadchat.server.chat as engine
from threadchat import Caller
from threadchat.cli.main import main


class SpeakingChat(engine.Chat):
    """A chat with a command that takes a room's name and a text, and emits the text to the room."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.command("emit")(self._emit_called)

    def _emit_called(self, caller: Caller, data: list[str]) -> None:
        self.emit(data[0], "bench", data[1])


if __name__ == "__main__":
    engine.Chat = SpeakingChat  # type: ignore[misc]  # the command line looks it up here
    sys.exit(main())
