"""A connection that reconnects: opens one WebSocket after another, says hello, and reads it to its end."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, Final

from threadchat.client.backoff import Backoff, should_reconnect
from threadchat.client.in_flight import InFlightCommands, Link, State, describe
from threadchat.client.pending import Request
from threadchat.client.protocol import decode_head
from threadchat.client.resumption import Resumption
from threadchat.errors import CloseCode, CommandError, ConnectionClosed, ThreadchatError

log = logging.getLogger(__name__)

JOIN_SECONDS: Final = 5.0
"""Seconds that `close` waits for the reader thread, which may be resolving a name or fetching a token."""

Opener = Callable[[str, float], Link]
"""Opens a URL within a number of seconds. Raises OSError, HandshakeRefused, ConnectionClosed."""


def without_password(url: str) -> str:
    """The URL without user and password, so that it may be shown and logged."""
    return re.sub("//.*@", "//...@", url)


class ReconnectingConnection:
    """The connection of a client. One thread, `client-reader`, connects, reads and reconnects.

    `give_up` makes `opener` stop waiting, now and in later calls; it may be called on any thread.
    """

    def __init__(
        self,
        url: str,
        resumption: Resumption,
        *,
        opener: Opener,
        timeout: float,
        backoff: Backoff,
        give_up: Callable[[], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.url = without_password(url)
        self.in_flight = InFlightCommands(self.url, clock)
        self._address = url
        self._resumption = resumption
        self._opener = opener
        self._timeout = timeout
        self._backoff = backoff
        self._give_up = give_up
        self._clock = clock
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self.run, name="client-reader", daemon=True)

    def open(self) -> None:
        """Connects and says hello. Raises OSError, including TimeoutError, HandshakeRefused, CommandError."""
        self._thread.start()
        try:
            self.in_flight.wait_until_open(self._timeout)
        except Exception:
            self.close()
            raise
        except BaseException:  # for example Ctrl-C: do not wait for a server that does not answer
            self._close_now()
            raise

    def close(self) -> None:
        """Closes the connection and ends all waits. Runs on: any thread."""
        self._close_now()
        if threading.current_thread() is not self._thread:  # callbacks of futures run on that thread
            self._thread.join(JOIN_SECONDS)

    def run(self) -> None:
        """Connects, reads, and reconnects until that is pointless. Runs on: the reader thread."""
        try:
            while True:
                end = self.one_connection()
                if self.in_flight.state in (State.CONNECTING, State.CLOSED) or not should_reconnect(end):
                    self._finish(end, drop=False)
                    return
                self.in_flight.interrupted(end)  # first, so that no page is requested before `lost`
                self._resumption.lost(describe(end))
                if self._ending.wait(self._backoff.pause()):
                    return
        except Exception as error:
            log.exception("the client failed")
            self._finish(
                ConnectionClosed(CloseCode.INTERNAL_ERROR, f"the client failed: {error!r}"), drop=False
            )

    def one_connection(self) -> Exception:
        """Runs one WebSocket and returns the error that ended it. Runs on: the reader thread."""
        deadline = self._clock() + self._timeout
        try:
            link = self._opener(self._address, self._timeout)
        except (OSError, ThreadchatError) as error:
            return error
        try:
            self.in_flight.connected(link)
            self._greet(link, deadline)
            returned = self.in_flight.go_online(link)
            self._backoff.online()
            if returned:
                self._resumption.back()
            while True:
                self._take(link.recv())
        except ConnectionClosed as error:  # in the words of the chat, which are a code and its reason
            return ConnectionClosed(error.code, error.reason)
        except (OSError, ThreadchatError) as error:
            return error
        finally:
            link.close()

    def _greet(self, link: Link, deadline: float) -> None:
        self._exchange(link, [self._resumption.hello()], deadline, needed=True)
        for group in self._resumption.requests_to_resume():
            self._exchange(link, group, self._clock() + self._timeout, needed=False)

    def _exchange(
        self, link: Link, requests: Iterable[Request[Any]], deadline: float, *, needed: bool
    ) -> None:
        """Sends some commands together and reads until all are answered.

        Raises the CommandError of a refused command if it is temporary, or if the commands are `needed`.
        """
        for pending in [self.in_flight.send_own(link, request) for request in requests]:
            while not pending.future.done():
                try:
                    message = link.recv(max(0.0, deadline - self._clock()))
                except TimeoutError:
                    raise TimeoutError(f"no reply to {pending.what} from {self.url} in time") from None
                self._take(message)
            error = pending.future.exception()
            if isinstance(error, CommandError) and (needed or error.temporary):
                raise error

    def _take(self, text: str | bytes) -> None:
        head = decode_head(text)
        if head.type in ("ok", "error"):
            self.in_flight.answer(text, head.re, refused=head.type == "error")
        elif head.type != "live":
            self._resumption.event(text, head.type)

    def _close_now(self) -> None:
        self._finish(ConnectionClosed(CloseCode.NORMAL, "closed by this program"), drop=True)

    def _finish(self, failure: Exception, *, drop: bool) -> None:
        link = self.in_flight.finish(failure)
        self._ending.set()
        self._give_up()
        self._resumption.events.end(failure, drop=drop)
        if link is not None:
            link.close()
