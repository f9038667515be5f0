"""Offers events to subscribers one by one: for those with filters, and for events that skip a session."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from typing import Any

from threadchat.chat.delivery.subscription import Encode, Subscription
from threadchat.chat.log.events import Record
from threadchat.wire.outbox import Answer

Tell = Callable[[Iterable[Subscription], list[Any]], object]
"""Offers something to subscriptions. Adds to the list each outbox whose writer must be woken.

Called under the room's lock.
"""


def offer_selected(
    subscriptions: Iterable[Subscription],
    records: Sequence[Record],
    listed: list[Any],
    full: set[Any],
    refused: list[Subscription],
) -> None:
    """Offers each subscription the events that it selects. Runs on: publishers, under the room's lock."""
    for subscription, payload in _payloads(subscriptions, records):
        answer = subscription.sink.offer(payload, listed)
        if answer is Answer.NO:
            refused.append(subscription)
        elif answer is Answer.HIGH:
            full.add(subscription.sink.line)


def any_skips(records: Sequence[Record]) -> bool:
    """Whether one of the events skips a session."""
    for item in records:  # noqa: SIM110  # every message comes through here, and a generator costs more
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
    """Offers a payload to members with one of these encoders and plenty of room, except the user `but`."""
    for subscription in subscriptions:
        if subscription.encode in encoders and subscription.owner not in (None, but):
            subscription.sink.offer_light(payload, listed)


def offer_passing(record: Record, subscriptions: Iterable[Subscription], listed: list[Any]) -> None:
    """Offers an event that is in no log to subscriptions that want it and have plenty of room.

    Runs on: any thread, under the room's lock.
    """
    for subscription, payload in _payloads(subscriptions, [record]):
        subscription.sink.offer_light(payload, listed)


def _payloads(
    subscriptions: Iterable[Subscription], records: Sequence[Record]
) -> Iterator[tuple[Subscription, Any]]:
    """What each subscription selects, encoded.

    A selection of all `records` is encoded once for each encoder.
    """
    skips = {item.event.skip for item in records if item.event.skip}
    whole: dict[Encode, Any] = {}
    for subscription in subscriptions:
        wanted = subscription.wanted(records)
        if subscription.session in skips:
            wanted = subscription.select(records)
        encode = subscription.encode
        if len(wanted) == len(records):
            payload = whole.get(encode)
            if payload is None:
                payload = whole[encode] = encode(records)
            yield subscription, payload
        elif wanted:
            yield subscription, encode(wanted)
