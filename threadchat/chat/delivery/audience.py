"""Those of a room's subscriptions that are live: each event is encoded once for all who share an encoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from threadchat.chat.delivery.offering import any_skips, offer_selected
from threadchat.chat.delivery.subscription import Encode, Subscription
from threadchat.chat.log.events import Record
from threadchat.wire.outbox import Answer

_YES, _HIGH, _NO = Answer.YES, Answer.HIGH, Answer.NO

Offer = Callable[[Any, list[Any]], Answer]


class Audience:
    """Its owner locks it: all runs under the room's lock."""

    def __init__(self) -> None:
        # Those that want everything, by what encodes for them; each with its sink's bound `offer`.
        self._by_encoding: dict[Encode, dict[Subscription, Offer]] = {}
        self._choosy: set[Subscription] = set()  # those with a filter

    def __iter__(self) -> Iterator[Subscription]:
        for subscriptions in self._by_encoding.values():
            yield from subscriptions
        yield from self._choosy

    def add(self, subscription: Subscription) -> None:
        """Offers it what comes from now on."""
        if subscription.wanted.passes_all:
            alike = self._by_encoding.setdefault(subscription.encode, {})
            alike[subscription] = subscription.sink.offer
        else:
            self._choosy.add(subscription)

    def discard(self, subscription: Subscription) -> None:
        """Offers it nothing more; does nothing where it is not here."""
        self._choosy.discard(subscription)
        alike = self._by_encoding.get(subscription.encode)
        if alike is not None:
            alike.pop(subscription, None)
            if not alike:
                del self._by_encoding[subscription.encode]

    def offer(self, records: Sequence[Record], listed: list[Any], full: set[Any]) -> list[Subscription]:
        """Offers events to all; returns those whose sinks had no room, and notes in `full` who is nearly so.

        The hot path: one payload for each way of encoding, one offer for each subscriber.
        """
        refused: list[Subscription] = []
        if any_skips(records):
            offer_selected(self, records, listed, full, refused)
            return refused
        for encode, alike in self._by_encoding.items():
            payload = encode(records)
            for subscription, offer in alike.items():
                answer = offer(payload, listed)
                if answer is not _YES:
                    if answer is _NO:
                        refused.append(subscription)
                    elif answer is _HIGH:
                        full.add(subscription.sink.line)
        if self._choosy:
            offer_selected(self._choosy, records, listed, full, refused)
        return refused
