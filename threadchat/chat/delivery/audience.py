"""The live subscriptions of one room. An event is encoded once for all that share an encoder."""

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
    """The live subscriptions of one room.

    The owner does the locking: everything here runs under the room's lock.
    """

    def __init__(self) -> None:
        # Unfiltered subscriptions, by encoder. The value is the bound `offer` of the sink.
        self._by_encoding: dict[Encode, dict[Subscription, Offer]] = {}
        self._filtered: set[Subscription] = set()

    def __iter__(self) -> Iterator[Subscription]:
        for subscriptions in self._by_encoding.values():
            yield from subscriptions
        yield from self._filtered

    def __len__(self) -> int:
        return sum(map(len, self._by_encoding.values())) + len(self._filtered)

    def add(self, subscription: Subscription) -> None:
        """Starts offering events to a subscription."""
        if subscription.wanted.passes_all:
            alike = self._by_encoding.setdefault(subscription.encode, {})
            alike[subscription] = subscription.sink.offer
        else:
            self._filtered.add(subscription)

    def discard(self, subscription: Subscription) -> None:
        """Stops offering events to a subscription. Does nothing if it is not in the audience."""
        self._filtered.discard(subscription)
        alike = self._by_encoding.get(subscription.encode)
        if alike is not None:
            alike.pop(subscription, None)
            if not alike:
                del self._by_encoding[subscription.encode]

    def offer(self, records: Sequence[Record], listed: list[Any], full: set[Any]) -> list[Subscription]:
        """Offers events to all subscriptions. Returns those whose sinks had no room.

        Adds the lines of sinks that are nearly full to `full`. This is the hot path: one payload for each
        encoder, one offer for each subscriber.
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
        if self._filtered:
            offer_selected(self._filtered, records, listed, full, refused)
        return refused


class NoAudience(Audience):
    """The audience of a forgotten room. Nothing follows, and nobody keeps what is left of the room."""

    def add(self, subscription: Subscription) -> None:
        """Does nothing."""
