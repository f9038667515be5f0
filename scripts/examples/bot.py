"""A bot in a room: answers `!count` and `!who`, keeps score of who says how much, and survives restarts.

python scripts/examples/bot.py ws://127.0.0.1:8080/chat lobby
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable

from threadchat.client import ChatEvent, Client
from threadchat.errors import ThreadchatError

NAME = "counter"


class Bot:
    """Listens to one room and answers there."""

    def __init__(self, chat: Client, room: str) -> None:
        self._chat = chat
        self._room = room
        self._said: Counter[str] = Counter()
        self._answers: dict[str, Callable[[], str]] = {"!count": self.count, "!who": self.who}

    def count(self) -> str:
        """Who said how much, since the bot came."""
        return ", ".join(f"{name} {number}" for name, number in self._said.most_common(5)) or "nothing yet"

    def who(self) -> str:
        """Who is here; a command may be given while events are being taken."""
        return ", ".join(sorted(person.nickname for person in self._chat.who(self._room)))

    def take(self, event: ChatEvent) -> None:
        """Does what an event asks for. Connections come back by themselves; what that misses is told."""
        if event.type in ("gap", "reset"):
            print(f"{event.room}: {event.message}", flush=True)
        if event.type == "message" and event.user != self._chat.user:
            self._said[event.nickname] += 1
            if answer := self._answers.get(event.message.strip()):
                # The key makes it one answer, should it have to be sent again.
                self._chat.message(self._room, answer(), key=f"answer-{event.id}")
        if event.type == "direct" and event.user is not None:
            self._chat.direct(event.user, "I talk in rooms only")

    def run(self) -> None:
        """Goes on until the server shows it the door."""
        self._chat.join(self._room)
        self._chat.message(self._room, "Say !count or !who")
        for event in self._chat:
            try:
                self.take(event)
            except (ThreadchatError, TimeoutError) as error:  # of one event; the next one may go well
                print(f"no answer to {event.nickname}: {error}", flush=True)


def main(url: str, room: str) -> int:
    """Returns the exit code."""
    try:
        with Client(url, NAME) as chat:
            print(f"{NAME} is in {room}", flush=True)
            Bot(chat, room).run()
    except (ThreadchatError, OSError) as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
