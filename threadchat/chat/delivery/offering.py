"""Offers events to subscribers one by one: to those with filters, and where a session is left out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from typing import Any

from threadchat.chat.delivery.subscription import Encode, Subscription
from threadchat.chat.log.events import Record
from threadchat.wire.outbox import Answer

Tell = Callable[[Iterable[Subscription], list[Any]], object]
"""Offers something to subscribers, and lists whom it has to wake; called under the room's lock."""


def offer_selected(
    subscriptions: Iterable[Subscription],
    records: Sequence[Record],
    listed: list[Any],
    full: set[Any],
    refused: list[Subscription],
) -> None:
    """Offers each what it selects. Runs on: publishers, under the room's lock."""
    for subscription, payload in _payloads(subscriptions, records):
        answer = subscription.sink.offer(payload, listed)
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
    for subscription, payload in _payloads(subscriptions, [record]):
        subscription.sink.offer_light(payload, listed)


def _payloads(
    subscriptions: Iterable[Subscription], records: Sequence[Record]
) -> Iterator[tuple[Subscription, Any]]:
    """What each selects, encoded; where that is all of `records`, once for all who share an encoding."""
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
