"""Offers events to subscribers one by one: to those with filters, and where a session is left out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import Any

from threadchat.chat.delivery.subscription import Encode, Subscription
from threadchat.chat.log.events import Record
from threadchat.wire.outbox import Answer

Tell = Callable[[Collection[Subscription], list[Any]], object]
"""Offers something to subscribers, and lists whom it has to wake; called under the room's lock."""


def offer_selected(
    subscriptions: Iterable[Subscription],
    records: Sequence[Record],
    listed: list[Any],
    full: set[Any],
    refused: list[Subscription],
) -> None:
    """Offers each what it selects. Runs on: publishers, under the room's lock."""
    encode = _encode_once(records)
    for subscription in subscriptions:
        if wanted := subscription.select(records):
            answer = subscription.sink.offer(encode(subscription.encode, wanted), listed)
            if answer is Answer.NO:
                refused.append(subscription)
            elif answer is Answer.HIGH:
                full.add(subscription.sink.line)


def any_skips(records: Sequence[Record]) -> bool:
    """Whether one of them leaves a session out."""
    for item in records:  # noqa: SIM110  # on the path of every message, where a generator is too much
        if item.event.skip:
            return True
    return False


def offer_whisper(
    payload: Any,
    encoders: Collection[Encode],
    but: Hashable,
    subscriptions: Iterable[Subscription],
    listed: list[Any],
) -> None:
    """Offers a payload to members who use one of these and have room to spare, but to one user."""
    for subscription in subscriptions:
        if subscription.encode in encoders and subscription.owner not in (None, but):
            subscription.sink.offer_light(payload, listed)


def offer_passing(record: Record, subscriptions: Iterable[Subscription], listed: list[Any]) -> None:
    """Offers what is in no log to those who want it and have room to spare. Runs on: as above."""
    records = [record]
    encode = _encode_once(records)
    for subscription in subscriptions:
        if wanted := subscription.select(records):
            subscription.sink.offer_light(encode(subscription.encode, wanted), listed)


def _encode_once(records: Sequence[Record]) -> Callable[[Encode, Sequence[Record]], Any]:
    """Encodes a selection; where that is all of `records`, once for all who share an encoding."""
    whole: dict[Encode, Any] = {}

    def encode(by: Encode, wanted: Sequence[Record]) -> Any:
        if len(wanted) < len(records):
            return by(wanted)
        if by not in whole:
            whole[by] = by(records)
        return whole[by]

    return encode
