"""Makes drafts of the application's own events: checks their names and encodes their data once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial
from time import time
from typing import Any, Final

import msgspec

from threadchat.chat.delivery.fanout import Fanout
from threadchat.chat.delivery.offering import offer_passing
from threadchat.chat.log.events import EVENT, Draft, Position, Record, plain, record
from threadchat.chat.log.keys import application_key
from threadchat.errors import CommandError, ErrorCode, RoomClosed

MAX_EVENT_NAME: Final = 64
NAME_RULE: Final = f"1 to {MAX_EVENT_NAME} of a-z, 0-9 and _ . : -"
_NAME: Final = re.compile(rf"[a-z0-9_.:-]{{1,{MAX_EVENT_NAME}}}")

_encode = msgspec.json.Encoder(enc_hook=plain).encode


def draft_event(name: Any, data: object, *, skip: str = "", key: str = "", most: int | None = None) -> Draft:
    """A draft of an application's event. Its data may take `most` bytes of JSON.

    Raises CommandError 107 if the name is not valid or the data cannot be encoded as JSON.
    """
    check_name(name)
    return Draft(EVENT, name=str(name), data=encode_data(data, most), skip=skip, key=application_key(key))


def encode_data(data: object, most: int | None = None) -> bytes:
    """Encodes a value as one line of JSON, of at most `most` bytes. Raises CommandError 107."""
    try:
        json = _encode(data)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _bad(f"data cannot be sent as JSON: {error}") from None
    if b"\n" in json:  # a msgspec.Raw, which is copied as it is
        json = msgspec.json.format(json, indent=-1)
    if most is not None and len(json) > most:
        raise _bad(f"data has {len(json)} bytes of JSON; at most {most} are allowed (max_message_size)")
    return json


def passing(draft: Draft, room: str, time: int) -> Record:
    """An event for those who are subscribed now, which is in no log. `time` is Unix time in seconds."""
    return record(draft, 0, room, time)


def check_name(name: Any) -> None:
    """Raises CommandError 107 if the value is not a valid name of an event or a command."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _bad(f"name is {name!r:.80}; it must be {NAME_RULE}")


def check_names(names: Iterable[str] | None) -> None:
    """Checks all names of a filter. None means no names."""
    for name in names or ():
        check_name(name)


class Emitter:
    """The part of a room that emits the application's own events.

    Every method may be called from any thread.
    """

    name: str
    fanout: Fanout

    def publish(self, drafts: Sequence[Draft]) -> list[Position]:
        """Publishes drafts and returns their positions. Raises RoomClosed."""
        raise NotImplementedError("Room implements this")

    def emit(
        self, name: str, data: object = None, *, keep: bool = True, skip: str = "", key: str = ""
    ) -> Position | None:
        """Emits an event of the application's own, with a name and data. The data is any JSON value.

        With `keep` false, the event is not logged, and only subscribers that have plenty of room get it.
        `skip` is the id of a session that does not get the event. Events of the same `key` within five
        minutes are published once. Returns the event's position, or None if it is not logged or the room is
        closed. Raises CommandError 107 if the name is not valid (a-z, 0-9 and _ . : -) or the data cannot be
        encoded as JSON. Blocks as `message` does.
        """
        draft = draft_event(name, data, skip=skip, key=key)
        if not keep:
            self.tell(passing(draft, self.name, int(time())))
            return None
        try:
            return self.publish([draft])[0]
        except RoomClosed:
            return None

    def tell(self, record: Record) -> None:
        """Offers an event that is in no log to the current subscribers."""
        self.fanout.tell(partial(offer_passing, record))


def _bad(reason: str) -> CommandError:
    return CommandError(ErrorCode.BAD_REQUEST, reason)
