"""Makes drafts of an application's own events: checks what they are called, and encodes their data once."""

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
    """An event that has no place yet; its data may have `most` bytes of JSON.

    Raises CommandError 107 for a name that is none, and for what JSON cannot carry.
    """
    check_name(name)
    return Draft(EVENT, name=str(name), data=encode_data(data, most), skip=skip, key=application_key(key))


def encode_data(data: object, most: int | None = None) -> bytes:
    """Some value's JSON on one line, in at most `most` bytes. Raises CommandError 107."""
    try:
        json = _encode(data)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _bad(f"data cannot be sent as JSON: {error}") from None
    if b"\n" in json:  # JSON that was given as it is
        json = msgspec.json.format(json, indent=-1)
    if most is not None and len(json) > most:
        raise _bad(f"data has {len(json)} bytes of JSON; at most {most} are allowed (max_message_size)")
    return json


def passing(draft: Draft, room: str, time: int) -> Record:
    """An event that is told now and is in no log; `time` is Unix time."""
    return record(draft, 0, room, time)


def check_name(name: Any) -> None:
    """Raises CommandError 107 for what is no name of an event or a command."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _bad(f"name is {name!r:.80}; it must be {NAME_RULE}")


def check_names(names: Iterable[str] | None) -> None:
    """The same for all of a filter; None is none."""
    for name in names or ():
        check_name(name)


class Emitter:
    """What a room has for events of the program's own. To be called on any thread."""

    name: str
    fanout: Fanout

    def publish(self, drafts: Sequence[Draft]) -> list[Position]:
        """Gives drafts their places. Raises RoomClosed."""
        raise NotImplementedError("a room publishes")

    def emit(
        self, name: str, data: object = None, *, keep: bool = True, skip: str = "", key: str = ""
    ) -> Position | None:
        """Has an event of the program's own happen: with a name, and data that is any JSON value.

        `keep` false: it is told to those who listen now and have room to spare, and is in no log. `skip` is a
        session that does not get it; the same `key` within five minutes says it once. Returns its place; None
        where it has none, and in a closed room. Raises CommandError 107 for a name that is none (of a-z, 0-9
        and _ . : -), and for data that JSON cannot carry. Waits as `message` does.
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
        """Offers an event that is in no log to those who are here now."""
        self.fanout.tell(partial(offer_passing, record))


def _bad(reason: str) -> CommandError:
    return CommandError(ErrorCode.BAD_REQUEST, reason)
