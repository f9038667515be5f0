"""threadchat as its command line starts it, plus two application commands: `emit` and `publish`.

Takes the arguments of `python -m threadchat`; what is measured differs from that by the commands alone.
"""

from __future__ import annotations

import sys
from typing import Any

import threadchat.server.chat as engine
from threadchat import Caller
from threadchat.cli.main import main


class SpeakingChat(engine.Chat):
    """A chat whose commands take a room's name and a text, and send the text to the room."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.command("emit")(self._emit_called)
        self.command("publish")(self._publish_called)

    def _emit_called(self, caller: Caller, data: list[str]) -> None:
        self.emit(data[0], "bench", data[1])

    def _publish_called(self, caller: Caller, data: list[str]) -> None:
        self.publish(data[0], data[1], caller.user)


if __name__ == "__main__":
    engine.Chat = SpeakingChat  # type: ignore[misc]  # the command line looks it up here
    sys.exit(main())
