"""One person with the `websockets` library's client: asks, tells, and looks at what comes in."""

from __future__ import annotations

import contextlib
import json
from collections import deque
from types import TracebackType
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

PATIENCE = 15.0  # seconds until a frame that does not come fails its test

Frame = dict[str, Any]


class Talker:
    """A connection on one of the dialects, `/chat` unless told otherwise; a context manager."""

    def __init__(self, ws: str, path: str = "/chat", **options: Any) -> None:
        self._open = contextlib.ExitStack()
        self.socket = self._open.enter_context(connect(ws + path, **options))
        self._asked = 0
        self._waiting: deque[Frame] = deque()  # what came in while a reply was waited for

    def __enter__(self) -> Talker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def send(self, **fields: object) -> None:
        """Sends one JSON object."""
        self.socket.send(json.dumps(fields))

    def ask(self, command: str, **fields: object) -> Frame:
        """Does one command of the native dialect; returns its reply, error or not, without type and `re`."""
        self._asked += 1
        self.send(type=command, id=self._asked, **fields)
        while True:
            frame = self._receive()
            if frame.get("re") == self._asked:
                del frame["re"]
                if frame["type"] == "ok":
                    del frame["type"]
                return frame
            self._waiting.append(frame)

    def code(self, command: str, **fields: object) -> int:
        """Does one command that is refused; returns the error's code."""
        reply = self.ask(command, **fields)
        assert reply.get("type") == "error", reply
        return int(reply["code"])

    def hello(self, nickname: str, **fields: object) -> Frame:
        """Says hello with a nickname; returns the reply."""
        reply = self.ask("hello", nickname=nickname, **fields)
        assert "user" in reply, reply
        return reply

    def next(self) -> Frame:
        """The next frame that is no reply to `ask`."""
        return self._waiting.popleft() if self._waiting else self._receive()

    def text(self) -> str:
        """The next frame as it came."""
        assert not self._waiting
        text = self.socket.recv(timeout=PATIENCE)
        assert isinstance(text, str)
        return text

    def nothing_waits(self) -> bool:
        """Whether no frame came in that was not looked at; a round trip makes sure."""
        self.ask("ping")
        return not self._waiting

    def close_code(self) -> int:
        """Reads on to the end; returns the code of the Close that came, 1006 where none did."""
        try:
            while True:
                self.socket.recv(timeout=PATIENCE)
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd is not None else 1006

    def _receive(self) -> Frame:
        frame: Frame = json.loads(self.socket.recv(timeout=PATIENCE))
        return frame
