"""The account of one person or one network: what all their connections together may use, and have used."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable
from typing import Final, Literal, NamedTuple

from threadchat.config.settings import Config
from threadchat.errors import CommandError, ErrorCode
from threadchat.logs.rate_limit import LogRateLimit
from threadchat.server.budgets.rate_limit import TokenBucket

log = logging.getLogger(__name__)
log.addFilter(LogRateLimit())

BURST: Final = 16.0
"""Seconds' worth of a rate that may be used at once: when a server comes back, everybody comes at once."""
QUERY_BURST: Final = 32.0
"""The same for the time of questions. Then everybody asks for history, too."""
REFILL: Final = 0.01
"""Seconds between two refills of the buckets. They are too many to do one for each message."""
OF_USER: Final = 2
"""A user has this part of what an address has (a half), so that no user takes all of an office's."""
OF_SITE: Final = 4
"""An IPv6 /48, which one customer may have, has so many times what a /64 has."""
TELLING: Final = 60.0
"""Minimum seconds between two log lines about one account."""
_UNLIMITED: Final = 10**15

MAX_STORED: Final = 100
STORED_WINDOW: Final = 3600.0
"""One user may store `MAX_STORED` direct messages for offline people per `STORED_WINDOW` seconds."""
STORED_OF_ADDRESS: Final = 20
"""An address may store so many times as many."""

Kind = Literal["subscriptions", "catch_ups"]


class Allowance(NamedTuple):
    """What one account may use: rates a second, and numbers at the same time."""

    messages: int
    bytes: int
    query_time: float
    subscriptions: int
    catch_ups: int
    rooms: int
    stored: int

    @classmethod
    def of_address(cls, config: Config) -> Allowance:
        """What the settings give one address."""
        return cls(
            config.message_rate_per_address or _UNLIMITED,
            config.byte_rate_per_address or _UNLIMITED,
            (config.query_time_per_address or _UNLIMITED) / 1000,
            config.subscriptions_per_address or _UNLIMITED,
            config.catch_ups_per_address or _UNLIMITED,
            config.rooms_per_address or _UNLIMITED,
            MAX_STORED * STORED_OF_ADDRESS,
        )

    def of_user(self) -> Allowance:
        """What one user has."""
        return self._times(1 / OF_USER)._replace(stored=MAX_STORED)

    def of_site(self) -> Allowance:
        """What an IPv6 /48 has."""
        return self._times(OF_SITE)

    def _times(self, factor: float) -> Allowance:
        return Allowance(
            max(1, int(self.messages * factor)),
            max(1, int(self.bytes * factor)),
            self.query_time * factor,
            max(1, int(self.subscriptions * factor)),
            max(1, int(self.catch_ups * factor)),
            max(1, int(self.rooms * factor)),
            max(1, int(self.stored * factor)),
        )


class Owner(NamedTuple):
    """Whose an account is: its key, and the words for it in a log and in a refusal."""

    key: Hashable
    name: str
    phrase: str
    share: str = ""


class Account:
    """What one person or one network has used. `_lock` guards everything but `sessions`; it is a leaf.

    The buckets may go below zero by the last use, so that one large message or one long question is never
    impossible; nothing more is granted until they have refilled. Times are monotonic seconds.
    """

    __slots__ = (
        "_at",
        "_bytes",
        "_held",
        "_lock",
        "_messages",
        "_query_time",
        "_refills_at",
        "_stored",
        "_told_at",
        "_waiting",
        "allowance",
        "owner",
        "sessions",
    )

    def __init__(self, owner: Owner, allowance: Allowance, now: float) -> None:
        self.owner = owner
        self.allowance = allowance
        self.sessions = 0  # that use it; guarded by the lock of `Budgets`
        self._lock = threading.Lock()
        self._at = self._refills_at = now
        self._messages = allowance.messages * BURST
        self._bytes = allowance.bytes * BURST
        self._query_time = allowance.query_time * QUERY_BURST
        self._stored = TokenBucket(allowance.stored / STORED_WINDOW, allowance.stored, now)
        self._held: Counter[Kind] = Counter()
        self._waiting: deque[Callable[[], object]] = deque()  # start threads, when others have ended
        self._told_at = -TELLING

    # Rates

    def grant(self, count: int, size: int, now: float) -> int:
        """Returns how many of `count` messages, of `size` bytes together, are accepted: the first ones."""
        with self._lock:
            if now >= self._refills_at:
                self._refill_locked(now)
            if self._bytes <= 0:
                return 0
            messages = self._messages
            if count > messages:
                count = int(messages)
            self._messages = messages - count
            if count:
                self._bytes -= size
            return count

    def refusal(self, now: float) -> str:
        """The reason for messages that `grant` did not accept."""
        with self._lock:
            short, rate = -self._bytes, self.allowance.bytes
            unit, setting = "bytes", "byte_rate_per_address"
            if short < 0:
                short, rate = 1 - self._messages, self.allowance.messages
                unit, setting = "messages", "message_rate_per_address"
        return self._met(f"send at most {rate} {unit} a second", setting, short / rate, now)

    def spend(self, seconds: float, now: float) -> float:
        """Takes CPU time from the budget; returns the seconds until there is some left, 0.0 if there is."""
        with self._lock:
            if now >= self._refills_at:
                self._refill_locked(now)
            self._query_time -= seconds
            return max(0.0, -self._query_time / self.allowance.query_time)

    def check_query(self, now: float) -> None:
        """Raises CommandError 111 if there is no CPU time left for a question."""
        seconds = self.spend(0.0, now)
        if seconds:
            most = f"{self.allowance.query_time * 1000:g} ms of CPU time a second"
            reason = self._met(f"ask for at most {most}", "query_time_per_address", seconds, now)
            raise CommandError(ErrorCode.TOO_MANY_REQUESTS, reason)

    def may_store(self, now: float) -> bool:
        """Whether another direct message may be stored for somebody who is offline."""
        with self._lock:
            self._stored.take(0, now)  # adds the tokens of the time that has passed
            return not self._stored.spent

    def note_stored(self, now: float) -> None:
        """Counts a direct message that was stored."""
        with self._lock:
            self._stored.take(1, now)

    # What is held

    def hold(self, kind: Kind, now: float) -> None:
        """Counts one more. Raises CommandError 106, temporary, if there are as many as there may be."""
        most: int = getattr(self.allowance, kind)
        with self._lock:
            if self._held[kind] < most:
                self._held[kind] += 1
                return
        reason = self._met(f"have at most {most} {kind}", f"{kind}_per_address", 0.0, now)
        raise CommandError(ErrorCode.LIMIT_EXCEEDED, reason, temporary=True)

    def release(self, kind: Kind) -> None:
        """Counts one less."""
        with self._lock:
            self._held[kind] -= 1

    def begin_catch_up(self, start: Callable[[], object]) -> bool:
        """Whether a thread may start to catch up now. Otherwise calls `start` when another one has ended."""
        with self._lock:
            if self._held["catch_ups"] < self.allowance.catch_ups:
                self._held["catch_ups"] += 1
                return True
            self._waiting.append(start)
            return False

    def end_catch_up(self) -> None:
        """Lets the next one start, which takes over the place of the one that has ended."""
        with self._lock:
            start = self._waiting.popleft() if self._waiting else None
            if start is None:
                self._held["catch_ups"] -= 1
        if start is not None:
            start()

    # Helpers

    def _refill_locked(self, now: float) -> None:
        passed, self._at, self._refills_at = now - self._at, now, now + REFILL
        rates = self.allowance
        self._messages = min(rates.messages * BURST, self._messages + passed * rates.messages)
        self._bytes = min(rates.bytes * BURST, self._bytes + passed * rates.bytes)
        self._query_time = min(rates.query_time * QUERY_BURST, self._query_time + passed * rates.query_time)

    def _met(self, what: str, setting: str, seconds: float, now: float) -> str:
        """The reason of a refusal. The operator reads of it at most once a minute."""
        with self._lock:
            tells = now >= self._told_at + TELLING
            if tells:
                self._told_at = now
        owner = self.owner
        limit = f"may {what} ({owner.share}{setting})"
        if tells:
            log.warning(
                "%s %s, and wanted more; see address_exempt, if many people share it", owner.name, limit
            )
        return f"{owner.phrase} {limit}{f'; try again in {seconds:.1f} s' if seconds else ''}"
