"""What a client says when it comes, and when it comes back: who it is, and which rooms it is in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Final

from threadchat.callbacks import check_callback, is_unrun
from threadchat.chat.log.events import EVENT, Position, UserId
from threadchat.client.event_queue import EventQueue
from threadchat.client.pending import OnLoss, Request
from threadchat.client.positions import Filter, Positions, RoomPosition
from threadchat.client.protocol import (
    CONNECTED,
    DISCONNECTED,
    GAP,
    GONE,
    INBOX,
    KICKED,
    PUT,
    RESET,
    Joined,
    Refreshed,
    Renamed,
    Welcome,
    decode_event,
    decode_reply,
    notice,
)
from threadchat.errors import CannotConnect, CommandError
from threadchat.normalize import nfc

Token = str | Callable[[], str]
"""A token, or what fetches one, whenever one is needed."""

TOGETHER: Final = 16
"""Rooms that are entered again at a time; their replies are read before the next ones are asked for."""


class Resumption:
    """Who one is to the server, kept over its connections. Everything runs on the reader thread; reading
    `nickname`, `user`, `session` and `expires` may be done anywhere. `refresh` runs on any thread."""

    def __init__(self, nickname: str | None, token: Token | None, inbox: EventQueue) -> None:
        if token is not None and not isinstance(token, str):
            check_callback("token", token, ())
        self.nickname = nfc(nickname or "")
        self.user: UserId | None = None
        self.session = ""
        self.expires: int | None = None
        self.inbox = inbox
        self.places = Positions(inbox)
        self._about: str | None = None
        self._token = token
        self._resume: str | None = None
        self._read: Position | None = None  # how far one's own inbox came in
        self._away = False

    def hello(self) -> Request[Any]:
        """The first command of every connection."""
        fields = {
            "nickname": self.nickname or None,
            "token": self._fetch(),
            "resume": self._resume,
            "inbox": None if self._read is None else self._read._asdict(),
        }
        return Request("hello", fields, Welcome, self._welcomed, OnLoss.FORGOTTEN)

    def refresh(self, token: str | None) -> Request[Refreshed]:
        """The command that shows a newer token; without one, what was given at first is asked for it."""
        former = self._token
        if token is not None and not callable(former):
            self._token = token  # now: the old one may be the reason why the connection is lost

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
        except Exception as error:  # of whatever the program asks: another time it may answer
            raise CannotConnect(f"no token could be had: {error!r}") from error

    def returning(self) -> Iterator[list[Request[Any]]]:
        """Everything that makes a new connection as good as the lost one, in groups."""
        if self._about is not None and self.nickname:
            fields = {"nickname": self.nickname, "about": self._about}
            renamed = partial(self.renamed, self.nickname, self._about)
            yield [Request("profile", fields, Renamed, renamed, OnLoss.FORGOTTEN)]
        places = iter(self.places.all())
        while group := list(islice(places, TOGETHER)):
            yield [
                Request(
                    place.command,
                    {"room": place.room, **place.wanted._asdict(), "since": place.since},
                    Joined,
                    partial(self._let_back, place.room),
                    OnLoss.FORGOTTEN,
                )
                for place in group
            ]

    def renamed(self, nickname: str, about: str | None, reply: Renamed | CommandError) -> None:
        """What a `profile` was answered."""
        if isinstance(reply, Renamed):
            self.nickname, self._resume = nickname, reply.resume
            if about is not None:
                self._about = about

    def event(self, text: str | bytes, kind: str) -> None:
        """Whatever comes and is no reply. Raises ConnectionClosed (1002)."""
        if kind == INBOX:  # it begins to exist: its log has a name now
            told = decode_reply(text, Joined)
            self._read = Position(told.offset, told.epoch)
            return
        event = decode_event(text, kind)
        if kind == KICKED or kind in GONE:
            self.places.leave(event.room)
            self.inbox.put_spare(event, len(text))
        elif kind in PUT:
            self.places.enter(RoomPosition("", event.room, Filter(), decode_reply(text, Joined)))
            self.inbox.put_spare(event, len(text))
        elif event.inbox and event.id and self._read is not None:
            if event.id > self._read.offset:
                self._read = self._read._replace(offset=event.id)
                self.inbox.put_spare(event, len(text))
        elif kind == "typing" or (kind == EVENT and not event.id):
            self.inbox.put_light(event, len(text))
        elif event.id and event.room:
            self.places.admit(event, len(text))
        else:
            self.inbox.put_spare(event, len(text))

    def lost(self, why: str) -> None:
        """The connection is gone, or an attempt at one has failed; told once until there is one again."""
        self.places.interrupted()
        if not self._away:
            self._away = True
            self.inbox.put_spare(notice(DISCONNECTED, f"{why}; trying to come back"))

    def back(self) -> None:
        """Everything is as it was."""
        self._away = False
        self.inbox.put_spare(notice(CONNECTED, f"back as {self.nickname or 'nobody'}, user {self.user}"))

    def _welcomed(self, reply: Welcome | CommandError) -> None:
        if isinstance(reply, Welcome):
            self.user, self.session, self.expires = reply.user, reply.session, reply.expires
            self._resume, self.nickname = reply.resume, reply.nickname or self.nickname
            self._enter_inbox(reply.inbox)

    def _enter_inbox(self, told: Joined | None) -> None:
        if told is None:
            return
        before, self._read = self._read, Position(told.offset, told.epoch)
        if before is not None and told.recovered is False:
            kind = GAP if told.epoch == before.epoch else RESET
            text = f"what came into the inbox after event {before.offset} is missing"
            self.inbox.put_spare(notice(kind, text, offset=told.offset))

    def _let_back(self, room: str, reply: Joined | CommandError) -> None:
        if isinstance(reply, Joined):
            self.places.back(room, reply)
        elif not reply.temporary:
            self.places.refused(room, reply)
