"""A connection that lasts: one WebSocket after another, each greeted and read to its end."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, Final

from threadchat.client.backoff import Backoff, comes_back
from threadchat.client.in_flight import InFlightCommands, Link, State, describe
from threadchat.client.pending import Request
from threadchat.client.protocol import decode_head
from threadchat.client.resumption import Resumption
from threadchat.errors import CloseCode, CommandError, ConnectionClosed, ThreadchatError

log = logging.getLogger(__name__)

JOIN_SECONDS: Final = 5.0
"""How long `close` waits for the reader thread, which may be looking up a name or fetching a token."""

Opener = Callable[[str, float], Link]
"""Opens a URL within some seconds. Raises OSError, HandshakeRefused, ConnectionClosed."""


def without_password(url: str) -> str:
    """An address as it may be shown and logged."""
    return re.sub("//.*@", "//...@", url)


class ReconnectingConnection:
    """What a client has for a connection. One thread, `client-reader`, connects, reads and reconnects.

    `give_up` ends what `opener` waits for, on any thread, and all that it would wait for later.
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
        """Connects and says hello. Raises OSError, TimeoutError among it, HandshakeRefused, CommandError."""
        self._thread.start()
        try:
            self.in_flight.wait_until_open(self._timeout)
        except Exception:
            self.close()
            raise
        except BaseException:  # Ctrl-C, say: nobody wants to wait for a server that does not answer
            self._end_it()
            raise

    def close(self) -> None:
        """Ends everything, what others wait for too. Runs on: any thread."""
        self._end_it()
        if threading.current_thread() is not self._thread:  # a callback of a future runs there
            self._thread.join(JOIN_SECONDS)

    def run(self) -> None:
        """Connects, reads, and comes back until it may not. Runs on: the reader thread."""
        try:
            while True:
                end = self.one_connection()
                if self.in_flight.state in (State.CONNECTING, State.CLOSED) or not comes_back(end):
                    self._finish(end, drop=False)
                    return
                self.in_flight.interrupted(end)  # first: what is fetched after it is not sent, and says so
                self._resumption.lost(describe(end))
                if self._ending.wait(self._backoff.pause()):
                    return
        except Exception as error:
            log.exception("the client failed")
            self._finish(
                ConnectionClosed(CloseCode.INTERNAL_ERROR, f"the client failed: {error!r}"), drop=False
            )

    def one_connection(self) -> Exception:
        """One WebSocket from its opening to its end, which it returns. Runs on: the reader thread."""
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
        for group in self._resumption.returning():
            self._exchange(link, group, self._clock() + self._timeout, needed=False)

    def _exchange(
        self, link: Link, requests: Iterable[Request[Any]], deadline: float, *, needed: bool
    ) -> None:
        """Sends some commands together and reads until all are answered.

        Raises the CommandError of one that was refused, if that is temporary or it was `needed`.
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

    def _end_it(self) -> None:
        self._finish(ConnectionClosed(CloseCode.NORMAL, "closed by this program"), drop=True)

    def _finish(self, failure: Exception, *, drop: bool) -> None:
        link = self.in_flight.finish(failure)
        self._ending.set()
        self._give_up()
        self._resumption.inbox.end(failure, drop=drop)
        if link is not None:
            link.close()
