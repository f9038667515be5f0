"""The commands that a client sends when it connects and reconnects: its identity and its rooms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Final

from threadchat.callbacks import check_callback, is_unrun
from threadchat.chat.log.events import EVENT, Position, UserId
from threadchat.client.event import ADDED, CONNECTED, DISCONNECTED, GAP, INBOX, KICKED, REMOVED, RESET, notice
from threadchat.client.event_queue import EventQueue
from threadchat.client.pending import OnLoss, Request
from threadchat.client.positions import Filter, Positions, RoomPosition
from threadchat.client.protocol import Joined, Refreshed, Renamed, Welcome, decode_event, decode_reply
from threadchat.errors import CannotConnect, CommandError, ConfigError
from threadchat.normalize import nfc

Token = str | Callable[[], str]
"""A token, or a function that returns one whenever one is needed."""

BATCH: Final = 16
"""Rooms that are entered again at a time; all replies are read before the next batch is sent."""


class Resumption:
    """The client's identity and rooms, which outlive its connections.

    Runs on: the reader thread, except `refresh`, which runs on any thread. Any thread may read `nickname`,
    `user`, `session` and `expires`.
    """

    def __init__(self, nickname: str | None, token: Token | None, events: EventQueue) -> None:
        if token is not None and not isinstance(token, str):
            check_callback("token", token, ())
        if nickname is not None and not isinstance(nickname, str):
            raise ConfigError(f"nickname is a {type(nickname).__name__}; it must be text")
        self.nickname = nfc(nickname or "")
        self.user: UserId | None = None
        self.session = ""
        self.expires: int | None = None
        self.events = events
        self.positions = Positions(events)
        self._about: str | None = None
        self._token = token
        self._resume: str | None = None
        self._inbox_position: Position | None = None  # the last event received from the user's inbox
        self._away = False

    def hello(self) -> Request[Any]:
        """The first command of every connection."""
        fields = {
            "nickname": self.nickname or None,
            "token": self._fetch(),
            "resume": self._resume,
            "inbox": None if self._inbox_position is None else self._inbox_position._asdict(),
        }
        return Request("hello", fields, Welcome, self._welcomed, OnLoss.FORGOTTEN)

    def refresh(self, token: str | None) -> Request[Refreshed]:
        """The command that sends a newer token. Without `token`, the one given at first is used or called."""
        former = self._token
        if token is not None and not callable(former):
            self._token = token  # before the reply, because a reconnect with the old one may be refused

        def refreshed(reply: Refreshed | CommandError) -> None:
            if isinstance(reply, Refreshed):
                self.expires = reply.expires
            else:
                self._token = former

        shown = self._fetch() if token is None else token
        return Request("refresh", {"token": shown or ""}, Refreshed, refreshed)

    def _fetch(self) -> str | None:
        if not callable(self._token):
            return self._token
        try:
            token = self._token()
            if is_unrun(token) or not isinstance(token, str | None):
                raise TypeError(f"it returned a {type(token).__name__}, not text")
            return token
        except Exception as error:  # an error of the application's function, which may be temporary
            raise CannotConnect(f"the token could not be fetched: {error!r}") from error

    def requests_to_resume(self) -> Iterator[list[Request[Any]]]:
        """The commands that restore the state of the lost connection, in groups."""
        if self._about is not None and self.nickname:
            fields = {"nickname": self.nickname, "about": self._about}
            renamed = partial(self.renamed, self.nickname, self._about)
            yield [Request("profile", fields, Renamed, renamed, OnLoss.FORGOTTEN)]
        positions = iter(self.positions.all())
        while group := list(islice(positions, BATCH)):
            yield [
                Request(
                    position.command,
                    {"room": position.room, **position.wanted._asdict(), "since": position.since},
                    Joined,
                    partial(self._room_resumed, position.room),
                    OnLoss.FORGOTTEN,
                )
                for position in group
            ]

    def renamed(self, nickname: str, about: str | None, reply: Renamed | CommandError) -> None:
        """Handles the reply to `profile`."""
        if isinstance(reply, Renamed):
            self.nickname, self._resume = nickname, reply.resume
            if about is not None:
                self._about = about

    def event(self, text: str | bytes, kind: str) -> None:
        """Handles a frame that is not a reply. Raises ConnectionClosed (1002)."""
        if kind == INBOX:  # the inbox was created
            told = decode_reply(text, Joined)
            self._inbox_position = Position(told.offset, told.epoch)
            return
        event = decode_event(text, kind)
        if kind == KICKED or kind in REMOVED:
            self.positions.leave(event.room)
            self.events.put_unlogged(event, len(text))
        elif kind in ADDED:
            self.positions.enter(RoomPosition("", event.room, Filter(), decode_reply(text, Joined)))
            self.events.put_unlogged(event, len(text))
        elif event.inbox and event.id and self._inbox_position is not None:
            if event.id > self._inbox_position.offset:
                self._inbox_position = self._inbox_position._replace(offset=event.id)
                self.events.put_unlogged(event, len(text))
        elif kind == "typing" or (kind == EVENT and not event.id):
            self.events.put_droppable(event, len(text))
        elif event.id and event.room:
            self.positions.event_received(event, len(text))
        else:
            self.events.put_unlogged(event, len(text))

    def lost(self, why: str) -> None:
        """Handles a lost connection or a failed attempt; reports only the first until it has reconnected."""
        self.positions.interrupted()
        if not self._away:
            self._away = True
            self.events.put_unlogged(notice(DISCONNECTED, f"{why}; trying to reconnect"))

    def back(self) -> None:
        """Reports that the client has reconnected."""
        self._away = False
        text = f"reconnected as {self.nickname or 'nobody'}, user {self.user}"
        self.events.put_unlogged(notice(CONNECTED, text))

    def _welcomed(self, reply: Welcome | CommandError) -> None:
        if isinstance(reply, Welcome):
            self.user, self.session, self.expires = reply.user, reply.session, reply.expires
            self._resume, self.nickname = reply.resume, reply.nickname or self.nickname
            self._enter_inbox(reply.inbox)

    def _enter_inbox(self, told: Joined | None) -> None:
        if told is None:
            return
        before, self._inbox_position = self._inbox_position, Position(told.offset, told.epoch)
        if before is not None and told.recovered is False:
            kind = GAP if told.epoch == before.epoch else RESET
            text = f"the events of the inbox after {before.offset} are missing"
            self.events.put_unlogged(notice(kind, text, offset=told.offset))

    def _room_resumed(self, room: str, reply: Joined | CommandError) -> None:
        if isinstance(reply, Joined):
            self.positions.resumed(room, reply)
        elif not reply.temporary:
            self.positions.resume_refused(room, reply)
