"""The synchronous chat client: a method for every command, and an iterator of everything that happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from threadchat.chat.log.events import UserId
from threadchat.client import event_queue
from threadchat.client.backoff import Backoff
from threadchat.client.commands import LONGEST, Commands
from threadchat.client.in_flight import Link, State
from threadchat.client.pending import OnLoss, Request
from threadchat.client.positions import MissedRange
from threadchat.client.protocol import ChatEvent, Page
from threadchat.client.reconnecting_connection import Opener, ReconnectingConnection, without_password
from threadchat.client.resumption import Resumption, Token
from threadchat.client.synchronous import Synchronous
from threadchat.errors import BadUrl, CloseCode, CommandError, ConfigError, ConnectionClosed
from threadchat.wire.connecting.address import parse
from threadchat.wire.connecting.cancellation import Cancellation

if TYPE_CHECKING:
    import ssl as tls

TIMEOUT: Final = 10.0  # seconds
CLOSE_TIMEOUT: Final = 5.0  # seconds that what was sent last may take to leave
MAX_FRAME: Final = 16 << 20
"""Bytes of the largest frame taken: a page of history may have 512 KiB of events, or one that is larger."""


class Client(Commands, Synchronous):
    """Somebody in a chat. Every method may be called from any thread, and by many at a time.

        with Client("ws://127.0.0.1:8080/chat", nickname="ann") as chat:
            chat.join("lobby")
            chat.message("lobby", "hi")
            for event in chat:
                print(event.room, event.nickname, event.message)

    Each command waits for its reply, at most `timeout` seconds (of the call, or else of the client), and then
    raises TimeoutError; what the server refuses raises CommandError with its `code`. A lost connection comes
    back by itself: the client says who it was, goes back into its rooms where it left off, and sends again
    what was not answered. Only where coming back is of no use, the commands and the iteration raise what
    ended it: ConnectionClosed with its `code`, HandshakeRefused, or CommandError.
    """

    def __init__(
        self,
        url: str,
        nickname: str | None = None,
        *,
        token: Token | None = None,
        timeout: float = TIMEOUT,
        events: int = event_queue.EVENTS,
        event_bytes: int = event_queue.BYTES,
        headers: Mapping[str, str] | None = None,
        ssl: tls.SSLContext | None = None,
        compression: bool = False,
        backoff: Backoff | None = None,
        opener: Opener | None = None,
    ) -> None:
        """Connects and says hello; gives up after `timeout` seconds, a day at most.

        `url` is the server's address, ws or wss, or http or https; without a path, `/chat`. Without a
        nickname one may only listen, and needs one (`profile`) within the server's `profile_timeout`. `token`
        is what the server wants to see, or a function that fetches it: asked for each connection, on the
        client's thread, so that a fresh one is shown when the last has expired. `events` and `event_bytes`
        may wait to be taken. `headers` go along with the handshake; `ssl` is the context of a wss address,
        `ssl.create_default_context()` where it is None; `compression` asks the server for messages that are
        compressed. `backoff` draws the pauses between attempts to come back; `opener` opens the WebSocket in
        place of all these.

        Raises OSError where there is no such server (TimeoutError among it), HandshakeRefused, CommandError,
        ConnectionClosed, BadUrl, and ConfigError for a number that cannot be used.
        """
        _check(timeout, events, event_bytes)
        self._inbox = event_queue.EventQueue(events, event_bytes)
        resumption = Resumption(nickname, token, self._inbox)
        cancellation = Cancellation()
        self._connection = ReconnectingConnection(
            chat_url(url),
            resumption,
            opener=opener
            or partial(_open, headers=headers, ssl=ssl, compression=compression, cancellation=cancellation),
            give_up=cancellation.cancel,
            timeout=timeout,
            backoff=backoff or Backoff(),
        )
        super().__init__(self._connection.in_flight, resumption, timeout)
        self._connection.open()

    # Who one is

    @property
    def user(self) -> UserId | None:
        """One's id; another one where the server forgot who one was."""
        return self._resumption.user

    @property
    def nickname(self) -> str:
        """One's name; empty without one."""
        return self._resumption.nickname

    @property
    def expires(self) -> int | None:
        """When the token expires, in Unix time: the server then ends the connection. None without a token."""
        return self._resumption.expires

    @property
    def session(self) -> str:
        """What the server calls the present connection, as in the `session` of one's own `join`."""
        return self._resumption.session

    @property
    def url(self) -> str:
        """Where the server is, without user and password."""
        return self._connection.url

    @property
    def state(self) -> State:
        """ONLINE, AWAY while it tries to come back, or CLOSED."""
        return self._in_flight.state

    @property
    def connected(self) -> bool:
        """Whether there is a connection just now; commands given while there is none wait for one."""
        return self._in_flight.state is State.ONLINE

    @property
    def joined(self) -> tuple[str, ...]:
        """The rooms one is in, joined or subscribed to."""
        return tuple(place.room for place in self._resumption.places.all())

    # Events

    def next_event(self, timeout: float | None = None) -> ChatEvent:
        """The next thing that happened: once each, and those of one room in its order; None waits for ever.

        Raises TimeoutError, and once all that came was taken, what ended the client.
        """
        event = self._inbox.take(timeout)
        self._fetch()
        return event

    def __iter__(self) -> Iterator[ChatEvent]:
        """Everything that happens, until the client is closed. Several threads share what comes."""
        while True:
            try:
                event = self.next_event()
            except ConnectionClosed as end:
                if end.code == CloseCode.NORMAL:
                    return
                raise
            yield event

    def close(self) -> None:
        """Ends the connection and all that waits: commands with ConnectionClosed, iteration quietly.

        What was sent last has some seconds to leave. Returns once the client's thread has ended, or after 5 s
        where that thread still looks up the server's name or fetches a token, and ends after that.
        """
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        who = f"{self.nickname or '-'}#{self.user}"
        counts = (
            f"rooms={len(self._resumption.places)} unanswered={len(self._in_flight)} inbox={len(self._inbox)}"
        )
        return f"<Client {who} {self.url} {self.state.name} {counts}>"

    def _fetch(self) -> None:
        """Reads from a room's log what the inbox had no room for, now that it has. Runs on: any thread."""
        missed = self._resumption.places.missed()
        if missed is None:
            return
        fields = {"room": missed.room, "since": missed.since, "limit": missed.limit}
        request = Request("history", fields, Page, partial(self._fetched, missed), OnLoss.FORGOTTEN)
        if not self._in_flight.submit_now(request):
            self._resumption.places.missed_failed()

    def _fetched(self, missed: MissedRange, reply: Page | CommandError) -> None:
        """Runs on: the reader thread. A temporary refusal ends the connection: coming back asks again."""
        if isinstance(reply, Page):
            self._resumption.places.admit_page(missed, reply)
        elif reply.temporary:
            raise reply
        else:
            self._resumption.places.page_refused(missed, reply)
        self._fetch()


def _open(
    url: str,
    timeout: float,
    *,
    headers: Mapping[str, str] | None,
    ssl: tls.SSLContext | None,
    compression: bool,
    cancellation: Cancellation,
) -> Link:
    from threadchat.plain.client import connect

    return connect(
        url,
        ssl=ssl,
        compression="deflate" if compression else None,
        additional_headers=headers,
        open_timeout=timeout,
        close_timeout=CLOSE_TIMEOUT,
        max_size=MAX_FRAME,
        cancellation=cancellation,
    )


def _check(timeout: float, events: int, event_bytes: int) -> None:
    if not 0 < timeout <= LONGEST:
        raise ConfigError(f"timeout={timeout!r}: must be above 0 and at most {LONGEST:g} seconds")
    for name, number in (("events", events), ("event_bytes", event_bytes)):
        if number < 1:
            raise ConfigError(f"{name}={number}: must be at least 1")


def chat_url(text: str) -> str:
    """The WebSocket that is meant: `http` counts as `ws`, and a server's address alone as its `/chat`.

    Raises BadUrl.
    """
    schemes = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
    try:
        parts = urlsplit(text)
        if parts.scheme not in schemes or not parts.hostname or parts.port == 0:
            raise ValueError("it begins with ws://, wss://, http:// or https://, and a host follows")
    except ValueError as error:
        given = without_password(repr(text))
        raise BadUrl(f"{given} is no address of a chat, such as ws://127.0.0.1:8080/chat: {error}") from None
    path = "/chat" if parts.path in ("", "/") else parts.path
    url = parts._replace(scheme=schemes[parts.scheme], path=path, fragment="").geturl()
    parse(url)
    return url
