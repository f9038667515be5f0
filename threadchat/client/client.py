"""The synchronous chat client: a method for each command, and an iterator over events."""

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
from threadchat.client.event import ChatEvent
from threadchat.client.in_flight import Link, State
from threadchat.client.pending import OnLoss, Request
from threadchat.client.positions import MissedRange
from threadchat.client.protocol import Page
from threadchat.client.reconnecting_connection import Opener, ReconnectingConnection, without_password
from threadchat.client.resumption import Resumption, Token
from threadchat.errors import BadUrl, CloseCode, CommandError, ConfigError, ConnectionClosed
from threadchat.wire.connecting.address import parse
from threadchat.wire.connecting.cancellation import Cancellation
from threadchat.wire.threads.synchronous import Synchronous

if TYPE_CHECKING:
    import ssl as tls

TIMEOUT: Final = 10.0  # seconds
CLOSE_TIMEOUT: Final = 5.0  # seconds for the last frames to be sent
MAX_FRAME: Final = 16 << 20
"""Bytes of the largest frame accepted. A page of history holds up to 512 KiB of events, or one larger one."""


class Client(Commands, Synchronous):
    """A person in a chat. Any thread may call any method, also at the same time.

        with Client("ws://127.0.0.1:8080/chat", nickname="ann") as chat:
            chat.join("lobby")
            chat.message("lobby", "hi")
            for event in chat:
                print(event.room, event.nickname, event.message)

    Each command waits for its reply, for at most `timeout` seconds (of the call, or by default of the
    client), and then raises TimeoutError. A command that the server refuses raises CommandError with its
    `code`. The client reconnects by itself: it resumes its identity, enters its rooms again where it left
    off, and sends unanswered commands again. If reconnecting is pointless, commands and the iteration raise
    the reason: ConnectionClosed with its `code`, HandshakeRefused, or CommandError.
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
        """Connects and says hello. Gives up after `timeout` seconds, at most a day.

        `url` is the server's address, with the scheme ws, wss, http or https; the default path is `/chat`.
        Without a `nickname`, the client can only listen, and must set one with `profile` within the server's
        `profile_timeout`. `token` is the token to send, or a function that returns one; the function is
        called for each connection, on the client's thread, so that it can replace an expired token. At most
        `events` events and `event_bytes` bytes wait to be taken. `headers` are sent with the handshake. `ssl`
        is the context for a wss address; None stands for `ssl.create_default_context()`. `compression` asks
        the server for compressed messages. `backoff` chooses the pauses between attempts to reconnect.
        `opener` opens the WebSocket; if it is given, `headers`, `ssl` and `compression` are not used.

        Raises OSError (including TimeoutError) if the server cannot be reached, HandshakeRefused,
        CommandError, ConnectionClosed, BadUrl, and ConfigError for a number out of range.
        """
        _check(timeout, events, event_bytes)
        self._events = event_queue.EventQueue(events, event_bytes)
        resumption = Resumption(nickname, token, self._events)
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

    # Identity and state

    @property
    def user(self) -> UserId | None:
        """The client's user id. It changes if the server could not resume the former identity."""
        return self._resumption.user

    @property
    def nickname(self) -> str:
        """The client's nickname; empty if it has none."""
        return self._resumption.nickname

    @property
    def expires(self) -> int | None:
        """When the token expires, in Unix time; the connection is closed then. None without a token."""
        return self._resumption.expires

    @property
    def session(self) -> str:
        """The server's id for the present connection, as in the `session` of the client's own `join`."""
        return self._resumption.session

    @property
    def url(self) -> str:
        """The address of the server, without user and password."""
        return self._connection.url

    @property
    def state(self) -> State:
        """ONLINE, AWAY while the client tries to reconnect, or CLOSED."""
        return self._in_flight.state

    @property
    def connected(self) -> bool:
        """Whether the client is connected. Commands that are given while it is not wait for a connection."""
        return self._in_flight.state is State.ONLINE

    @property
    def joined(self) -> tuple[str, ...]:
        """The rooms that the client has joined or subscribed to."""
        return tuple(position.room for position in self._resumption.positions.all())

    # Events

    def next_event(self, timeout: float | None = None) -> ChatEvent:
        """The next event. Each event is returned once, and the events of a room in their order.

        Waits up to `timeout` seconds; None waits for ever. Raises TimeoutError and, once all events were
        taken, the error that ended the client.
        """
        event = self._events.take(timeout)
        self._fetch()
        return event

    def __iter__(self) -> Iterator[ChatEvent]:
        """Iterates over all events until the client is closed. Threads that iterate share the events."""
        while True:
            try:
                event = self.next_event()
            except ConnectionClosed as end:
                if end.code == CloseCode.NORMAL:
                    return
                raise
            yield event

    def close(self) -> None:
        """Closes the connection. Commands that wait raise ConnectionClosed; iterations end.

        The last frames have some seconds to be sent. Returns once the client's thread has ended. If that
        thread is still resolving the server's name or fetching a token, returns after 5 s, and the thread
        ends later.
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
        rooms, unanswered, events = len(self._resumption.positions), len(self._in_flight), len(self._events)
        counts = f"rooms={rooms} unanswered={unanswered} events={events}"
        return f"<Client {who} {self.url} {self.state.name} {counts}>"

    def _fetch(self) -> None:
        """Reads events from a room's log that did not fit into the queue before. Runs on: any thread."""
        missed = self._resumption.positions.next_missed()
        if missed is None:
            return
        fields = {"room": missed.room, "since": missed.since, "limit": missed.limit}
        request = Request("history", fields, Page, partial(self._fetched, missed), OnLoss.FORGOTTEN)
        if not self._in_flight.submit_now(request):
            self._resumption.positions.fetch_failed()

    def _fetched(self, missed: MissedRange, reply: Page | CommandError) -> None:
        """Runs on: the reader thread. A temporary refusal ends the connection; the reconnect asks again."""
        if isinstance(reply, Page):
            self._resumption.positions.page_received(missed, reply)
        elif reply.temporary:
            raise reply
        else:
            self._resumption.positions.page_refused(missed, reply)
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
    """The URL of the WebSocket: `http` becomes `ws`, `https` becomes `wss`, and the default path is `/chat`.

    Raises BadUrl.
    """
    schemes = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
    try:
        parts = urlsplit(text if isinstance(text, str) else "")  # a port number, for example
        if parts.scheme not in schemes or not parts.hostname or parts.port == 0:
            raise ValueError("it must begin with ws://, wss://, http:// or https://, followed by a host")
    except ValueError as error:
        given = without_password(repr(text)) if isinstance(text, str | int) else f"a {type(text).__name__}"
        raise BadUrl(f"{given} is not a chat address such as ws://127.0.0.1:8080/chat: {error}") from None
    path = "/chat" if parts.path in ("", "/") else parts.path
    url = parts._replace(scheme=schemes[parts.scheme], path=path, fragment="").geturl()
    parse(url)
    return url
