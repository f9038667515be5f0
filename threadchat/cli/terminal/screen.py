"""The interactive chat on a terminal: a line to edit at the bottom, and events above it."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.patch_stdout import patch_stdout

from threadchat.cli.terminal.constants import EXIT_OK
from threadchat.cli.terminal.shell import COMMANDS, Quit, Shell
from threadchat.cli.terminal.text import Style, plain
from threadchat.client import Client, State

MOST_LINES: Final = 100
"""Lines that may wait while the server is slow or away; a further line stays in the editor."""


class Words(Completer):
    """Completes commands, rooms after commands that take a room, and nicknames everywhere else."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """See prompt_toolkit. Names with control characters are not offered; names with spaces cannot be
        recognised."""
        before = document.text_before_cursor
        word = before.rpartition(" ")[2]
        for candidate in self._candidates(before):
            if candidate.startswith(word) and candidate == plain(candidate):
                yield Completion(f"{candidate} ", -len(word), display=candidate)

    def _candidates(self, before: str) -> Iterable[str]:
        command, space, _ = before.partition(" ")
        if before.startswith("/") and not space:
            return COMMANDS
        if command in ("/join", "/leave", "/who"):
            return sorted(self._shell.known_rooms)
        return self._shell.names if before else ()


class Screen:
    """One interactive session.

    The main thread runs the line editor. The thread `terminal-lines` carries out the lines that were typed,
    and `terminal-events` shows events, so that typing never waits for the server.
    """

    def __init__(self, chat: Client, *, colour: bool) -> None:
        self._chat = chat
        self._shell = Shell(chat, Style(colour=colour), self._show)
        self._lines: queue.Queue[str | None] = queue.Queue(MOST_LINES)  # None: no more lines follow
        self._session: PromptSession[str] = PromptSession(
            self._prompt,
            completer=Words(self._shell),
            complete_while_typing=False,
            key_bindings=self._keys(),
            erase_when_done=True,
        )
        self._session.default_buffer.accept_handler = self._accept
        self._failure: Exception | None = None
        self._threads = [
            threading.Thread(target=self.do_lines, name="terminal-lines", daemon=True),
            threading.Thread(target=self.show_events, name="terminal-events", daemon=True),
        ]

    def run(self, rooms: Sequence[str]) -> int:
        """Joins the rooms, runs the editor until the user leaves, and returns the exit code.

        Raises the error that ended the client. Runs on: the main thread.
        """
        with patch_stdout(raw=True):
            self._show(f"{self._chat.url} as {plain(self._chat.nickname)}; /help lists the commands")
            for room in rooms[:MOST_LINES]:
                self._lines.put(f"/join {room}")
            try:
                self._session.prompt(pre_run=self._start)
            except EOFError:
                pass
            finally:
                self._chat.close()  # wakes both threads if they wait for the server
                self._empty()
                self._lines.put(None)
                for thread in self._threads:
                    thread.join()
        if self._failure is not None:
            raise self._failure
        return EXIT_OK

    def do_lines(self) -> None:
        """Carries out what is typed, line by line. Runs on: the thread `terminal-lines`."""
        try:
            while (line := self._lines.get()) is not None:
                self._shell.type(line)
                self._session.app.invalidate()  # the prompt names the room
        except Quit:
            self._stop()
        except Exception as error:  # after any error, lines would no longer be carried out
            self._stop(error)

    def show_events(self) -> None:
        """Shows events until the client ends. Runs on: the thread `terminal-events`."""
        try:
            for event in self._chat:
                self._shell.event(event)
        except Exception as error:
            self._stop(error)

    def _start(self) -> None:
        for thread in self._threads:
            thread.start()

    def _stop(self, failure: Exception | None = None) -> None:
        """Ends the editor; only the first failure is kept. Runs on: any thread."""
        app = self._session.app
        loop = app.loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._leave, failure)

    def _leave(self, failure: Exception | None) -> None:
        app = self._session.app
        if app.future is not None and not app.future.done():
            self._failure = failure
            app.exit(exception=EOFError())

    def _accept(self, buffer: Buffer) -> bool:
        """Queues the line; returns whether it stays in the editor."""
        try:
            self._lines.put_nowait(buffer.text)
        except queue.Full:
            self._show(f"-- {MOST_LINES} lines are waiting; press Enter again in a moment")
            return True
        return False

    def _empty(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._lines.get_nowait()

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("c-c")
        @keys.add("<sigint>")  # the same key, pressed while something is being printed
        def clear_line(event: KeyPressEvent) -> None:
            """Clears the line, as in a shell."""
            if not event.current_buffer.text:
                self._show("-- /quit or Ctrl-D leaves")
            event.current_buffer.reset()

        return keys

    def _prompt(self) -> str:
        away = "" if self._chat.state is State.ONLINE else " (away)"
        return f"#{plain(self._shell.room)}{away}> " if self._shell.room else f"no room{away}> "

    @staticmethod
    def _show(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
