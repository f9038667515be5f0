"""A program with events and a command of its own, and its log in a file: `python emitter.py PORT FILE`."""

from __future__ import annotations

import sys
import threading

from threadchat import Caller, Chat, Config

KEY = "a-key-for-the-api"


def main(port: int, path: str) -> None:
    """Serves until it is killed."""
    config = Config(port=port, broker=f"sqlite:{path}", history_size=5000, inbox_size=1000, api_key=KEY)
    chat = Chat(config, authenticate=lambda environ: environ.get("HTTP_X_USER"))

    @chat.command("count")
    def count(caller: Caller, number: int) -> int:
        """Done once, however often it is called: the key says so."""
        place = chat.emit("calls", "called", number, key=f"call-{number}")
        assert place is not None, "it is kept"
        return place.offset

    chat.listen()
    threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
