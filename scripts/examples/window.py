"""A chat in a window: Tk has the main thread, and what the others say comes on a second one.

python scripts/examples/window.py ws://127.0.0.1:8080/chat ann lobby
"""

from __future__ import annotations

import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from tkinter import Entry, Tk, scrolledtext

from threadchat import ThreadchatError
from threadchat.client import ChatEvent, Client


class Talk:
    """One's part in one room; `heard` has the lines to show. Knows nothing of windows."""

    def __init__(self, chat: Client, room: str) -> None:
        self.heard: queue.Queue[str] = queue.Queue(1000)  # full, it makes the listener wait
        self._chat = chat
        self._room = room
        chat.join(room)
        threading.Thread(target=self.listen, name="listener", daemon=True).start()

    def listen(self) -> None:
        """Goes on until the client is closed. Runs on: the listener's thread."""
        try:
            for event in self._chat:
                self.heard.put(line(event))
        except (ThreadchatError, OSError) as error:
            self.heard.put(f"* the connection is over: {error}")

    def say(self, text: str) -> None:
        """Says a line. Runs on: a thread that may wait for the server, not the window's."""
        try:
            self._chat.message(self._room, text)
        except (ThreadchatError, OSError) as error:
            self.heard.put(f"* not said: {error}")


def line(event: ChatEvent) -> str:
    """What is shown of an event."""
    if event.type == "message":
        return f"{event.nickname}: {event.message}"
    return " ".join(filter(None, ("*", event.nickname, event.type, event.message)))


class Window:
    """Only the main thread touches it, as Tk asks."""

    def __init__(self, talk: Talk, title: str) -> None:
        self._talk = talk
        self._outgoing = ThreadPoolExecutor(1)  # one line after the other
        self.root = Tk(className=title)
        self.shown = scrolledtext.ScrolledText(self.root)
        self.shown.pack()
        self.entry = Entry(self.root)
        self.entry.pack(fill="x")
        self.entry.bind("<Return>", self.send)
        self.look()

    def send(self, _: object) -> None:
        self._outgoing.submit(self._talk.say, self.entry.get())
        self.entry.delete(0, "end")

    def look(self) -> None:
        while not self._talk.heard.empty():
            self.shown.insert("end", self._talk.heard.get() + "\n")
        self.shown.see("end")
        self.root.after(50, self.look)  # milliseconds


if __name__ == "__main__":
    url, nickname, room = sys.argv[1:]
    with Client(url, nickname=nickname) as chat:
        Window(Talk(chat, room), f"{nickname} in {room}").root.mainloop()
