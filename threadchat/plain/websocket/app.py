"""Calls functions for the messages of a server, with the interface of websocket-client's WebSocketApp."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Final

from threadchat.plain.options import refuse_unknown
from threadchat.plain.websocket.connection import Header, WebSocket
from threadchat.plain.websocket.exceptions import (
    ABNF,
    WebSocketConnectionClosedException,
    WebSocketException,
)

log = logging.getLogger(__name__)

Callback = Callable[..., object] | None
_NEVER: Final = ("on_ping", "on_pong", "on_cont_message", "get_mask_key")


class WebSocketApp:
    """Calls `on_open(app)`, `on_message(app, message)`, `on_error(app, error)` and so on from `run_forever`.

    `on_data(app, data, opcode, True)` is called before `on_message`, `on_close(app, code, text)` at the end,
    and `on_reconnect(app)` instead of `on_open` after a reconnect. Pings are answered by the connection
    itself, so `on_ping`, `on_pong` and `on_cont_message` would never be called; they raise TypeError.
    """

    def __init__(  # noqa: PLR0917  # the order is theirs
        self,
        url: str,
        header: Header | Callable[[], Header] = None,
        on_open: Callback = None,
        on_reconnect: Callback = None,
        on_message: Callback = None,
        on_error: Callback = None,
        on_close: Callback = None,
        *,
        on_data: Callback = None,
        keep_running: bool = True,
        cookie: str | None = None,
        subprotocols: list[str] | None = None,
        socket: Any = None,
        **more: Callback,
    ) -> None:
        refuse_unknown(
            "WebSocketApp", [name for name in more if name not in _NEVER or more[name] is not None]
        )
        self.url, self.header = url, header
        self.on_open, self.on_reconnect, self.on_close = on_open, on_reconnect, on_close
        self.on_message, self.on_data, self.on_error = on_message, on_data, on_error
        self.sock: WebSocket | None = None
        self.keep_running = False
        self._options = {"cookie": cookie, "subprotocols": subprotocols, "socket": socket}
        self._closing = threading.Event()
        self._end: tuple[int | None, str | None] = (None, None)

    def send(self, data: str | bytes, opcode: int = ABNF.OPCODE_TEXT) -> None:
        """Sends a message. Runs on: any thread. Raises WebSocketConnectionClosedException."""
        if self.sock is None:
            raise WebSocketConnectionClosedException("Connection is already closed.")
        self.sock.send(data, opcode)

    send_text = send

    def send_bytes(self, data: bytes) -> None:
        """Sends a binary message."""
        self.send(data, ABNF.OPCODE_BINARY)

    def close(self, **named: Any) -> None:
        """Ends `run_forever`; `named` is for `WebSocket.close`. Runs on: any thread."""
        self.keep_running = False
        self._closing.set()
        if self.sock is not None:
            self.sock.close(**named)

    def run_forever(
        self,
        *,
        sslopt: dict[str, Any] | None = None,
        reconnect: float | None = None,
        **options: Any,
    ) -> bool:
        """Connects, and calls the functions until the end; returns whether an error ended it.

        `reconnect`: seconds before it connects again; 0 or None means never. `options` are those of
        `WebSocket.connect`.
        """
        options = {name: value for name, value in options.items() if name != "sockopt"}
        self.keep_running = True
        self._closing.clear()
        self._end = (None, None)
        opened = self.on_open
        while True:
            self.sock = WebSocket(sslopt=sslopt)
            try:
                header = self.header() if callable(self.header) else self.header
                self.sock.connect(self.url, header=header, **{**self._options, **options})
                self._call(opened)
                failure = self._receive(self.sock)
            except KeyboardInterrupt:
                self.sock.close()
                return False
            except (WebSocketException, OSError) as error:
                failure = error
            if failure is not None and self.keep_running and not (reconnect and self._end[0]):
                self._call(self.on_error, failure)
            self.sock.close()
            if not (reconnect and self.keep_running) or self._closing.wait(reconnect):
                break
            opened = self.on_reconnect or self.on_open
        failed = self.keep_running and failure is not None and self._end[0] is None
        self.keep_running = False
        self._call(self.on_close, *self._end)
        return failed

    def _receive(self, sock: WebSocket) -> Exception | None:
        """Calls the functions for messages until the end. Raises an exception if the connection is lost."""
        while self.keep_running:
            try:
                opcode, data = sock.recv_data()
            except WebSocketConnectionClosedException:
                if self.keep_running:
                    raise
                break
            if opcode == ABNF.OPCODE_CLOSE:
                code, text = int.from_bytes(data[:2], "big") or None, data[2:].decode()
                self._end = code, text
                return WebSocketConnectionClosedException(f"Connection closed (code {code}): {text}")
            message = data.decode() if opcode == ABNF.OPCODE_TEXT else data
            self._call(self.on_data, message, opcode, True)
            self._call(self.on_message, message)
        self._end = sock.close_code, None
        return None

    def _call(self, callback: Callback, *given: Any) -> None:
        if callback is None:
            return
        try:
            callback(self, *given)
        except Exception as error:
            log.exception("a callback of WebSocketApp failed")
            if callback is not self.on_error:
                self._call(self.on_error, error)
