"""`tail`: prints the events of rooms, one a line, for people and for programs."""

from __future__ import annotations

import argparse
import select
import sys
from collections.abc import Iterator
from typing import Final, TextIO

from threadchat.chat.log.events import CLOSE
from threadchat.cli.terminal.connect import open_client
from threadchat.cli.terminal.constants import EXIT_OK
from threadchat.cli.terminal.text import Style, wants_colour
from threadchat.client import ChatEvent, Client, Page
from threadchat.client.event import KICKED, NOTICES, REFUSED, as_json
from threadchat.client.positions import Filter
from threadchat.errors import CommandError, ErrorCode, ThreadchatError
from threadchat.normalize import nfc

LOOK_SECONDS: Final = 1.0
"""Seconds between two checks whether the output still has a reader, while there are no events."""


def tail(arguments: argparse.Namespace) -> int:
    """Runs the command and returns the exit code. Raises the error that ended the client."""
    # Characters that the encoding of the output lacks are escaped instead of raising an error.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    style = Style(colour=wants_colour(sys.stdout), rooms=len(arguments.room) > 1)
    left = arguments.count
    with open_client(arguments) as chat:
        for event in follow(chat, arguments):
            if event.type in NOTICES:
                print(style.event(event), file=sys.stderr, flush=True)
                continue
            print(as_json(event) if arguments.json else style.event(event), flush=True)
            if left is not None and (left := left - 1) == 0:
                break
    return EXIT_OK


def follow(chat: Client, arguments: argparse.Namespace) -> Iterator[ChatEvent]:
    """Yields events and notices, from the position that the arguments name, until the rooms are closed."""
    for room in arguments.room:
        yield from enter(chat, room, arguments)
    rooms = set(map(nfc, arguments.room))
    while True:
        try:
            event = chat.next_event(LOOK_SECONDS)
        except TimeoutError:
            if nobody_reads(sys.stdout):
                raise BrokenPipeError from None
            continue
        if event.room in rooms or event.type in NOTICES:
            yield event
        if event.type in (CLOSE, REFUSED, KICKED):
            rooms.discard(event.room)
            if not rooms and event.type == REFUSED:
                raise ThreadchatError(f"the chat refuses to resume room {event.room!r}: {event.message}")
            if not rooms and event.type == KICKED:
                raise ThreadchatError(event.message)
            if not rooms:
                return


def nobody_reads(stream: TextIO) -> bool:
    """Whether the other end of a pipe is closed. A write would fail, but there is nothing to write."""
    watched = select.poll()
    watched.register(stream.fileno(), 0)  # errors are always reported
    return any(events & select.POLLERR for _, events in watched.poll(0))


def enter(chat: Client, room: str, arguments: argparse.Namespace) -> list[ChatEvent]:
    """Subscribes to a room; returns the past events that were asked for."""
    wanted = Filter(arguments.type, None, arguments.name)
    page = newest(chat, room, arguments.history)
    start = page.offset if arguments.since is None else arguments.since
    if chat.subscribe(room, (start, page.epoch), types=wanted.types, names=wanted.names).recovered is False:
        why = f"room {room!r} no longer has the events after {start}; its newest is {page.offset}"
        raise CommandError(ErrorCode.UNRECOVERABLE_POSITION, why)
    events = page.events if arguments.history else ()
    return [event for event in events if wanted.wants(event)]


def newest(chat: Client, room: str, number: int) -> Page:
    """The newest events of a room; creates the room if it does not exist."""
    try:
        return chat.history(room, limit=max(1, number))
    except CommandError as error:
        if error.code != ErrorCode.UNKNOWN_ROOM:
            raise
    # Others may publish in the new room at once, so start from the position at which it was created.
    created = chat.subscribe(room, types=[CLOSE])
    chat.unsubscribe(room)
    return chat.history(room, limit=number) if number else Page((), created.offset, created.epoch)
