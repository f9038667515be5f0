"""What a client says when it comes, and when it comes back: who it is, and which rooms it is in."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any, Final

from threadchat.client.inbox import Inbox
from threadchat.client.messages import (
    CONNECTED,
    DISCONNECTED,
    Joined,
    Renamed,
    Welcome,
    decode_event,
    notice,
)
from threadchat.client.pending import OnLoss, Request
from threadchat.client.places import Places
from threadchat.errors import CommandError

TOGETHER: Final = 16
"""Rooms that are entered again at a time; their replies are read before the next ones are asked for."""


class Guest:
    """Who one is to the server, kept over its connections. Everything runs on the reader thread; reading
    `nickname`, `user` and `session` may be done anywhere."""

    def __init__(self, nickname: str | None, token: str | None, inbox: Inbox) -> None:
        self.nickname = nickname or ""
        self.user: int | None = None
        self.session = ""
        self.inbox = inbox
        self.places = Places(inbox)
        self._about: str | None = None
        self._token = token
        self._resume: str | None = None
        self._away = False

    def hello(self) -> Request[Any]:
        """The first command of every connection."""
        fields = {"nickname": self.nickname or None, "token": self._token, "resume": self._resume}
        return Request("hello", fields, Welcome, self._welcomed, OnLoss.FORGOTTEN)

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
                    {"room": place.room, "types": place.types, "users": place.users, "since": place.since},
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
        event = decode_event(text, kind)
        if kind == "typing":
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
            self.user, self.session = reply.user, reply.session
            self._resume, self.nickname = reply.resume, reply.nickname or self.nickname

    def _let_back(self, room: str, reply: Joined | CommandError) -> None:
        if isinstance(reply, Joined):
            self.places.back(room, reply)
        elif not reply.temporary:
            self.places.refused(room, reply)
