"""The budgets of people and addresses, by which no stranger can take what is everybody's."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic, thread_time
from typing import Final

from threadchat.chat.log.events import UserId
from threadchat.chat.log.ids import spelled_id
from threadchat.chat.room_shares import Opener
from threadchat.config.settings import Config
from threadchat.server.budgets.account import Account, Allowance, Kind, Owner
from threadchat.server.http.connection_limits import networks_of
from threadchat.server.http.proxies import Networks

MAX_IDLE: Final = 4096
"""Accounts without a connection that are remembered, so that a new connection is no new budget: those that
were used last.
"""


class Budgets:
    """The accounts of one chat, by person and by network. Each process has its own.

    `_lock` guards `_accounts` and `_idle`; it is a leaf. Every method may be called from any thread.
    """

    def __init__(self, config: Config | None = None, clock: Callable[[], float] = monotonic) -> None:
        """Without `config` there is no limit."""
        self.clock = clock
        self._lock = threading.Lock()
        self._accounts: dict[Hashable, Account] = {}
        self._idle: OrderedDict[Hashable, None] = OrderedDict()  # those without a session; oldest first
        self._config = config
        if config is not None:
            self._exempt = Networks(config.address_exempt), Networks(config.trusted_proxy)
            self._of_address = Allowance.of_address(config)
            self._of_user = self._of_address.of_user()

    def of_address(self, address: str) -> list[Account]:
        """The accounts for a session from that address, the smallest network first; `give_back` must follow.

        None for an unknown address, and for one that many people share.
        """
        if self._config is None or not address or any(address in networks for networks in self._exempt):
            return []
        networks = networks_of(address)
        owner = Owner(networks[0], networks[0], f"all connections from {networks[0]} together")
        found = [self._take(owner, self._of_address)]
        for site in networks[1:]:
            owner = Owner(site, site, f"all connections from {site} together", "4 times ")
            found.append(self._take(owner, self._of_address.of_site()))
        return found

    def of_user(self, user: UserId) -> list[Account]:
        """The account for a session of a known user; `give_back` must follow."""
        if self._config is None:
            return []
        key = "user", user
        owner = Owner(key, f"user {spelled_id(user)}", "all your connections together", "half of ")
        return [self._take(owner, self._of_user)]

    def rooms_of_user(self) -> int:
        """How many open rooms one user may have created, known or not."""
        return self._of_user.rooms if self._config is not None else 0

    def give_back(self, accounts: list[Account]) -> None:
        """Notes that a session has ended."""
        with self._lock:
            for account in accounts:
                account.sessions -= 1
                if not account.sessions:
                    self._idle[account.owner.key] = None
            while len(self._idle) > MAX_IDLE:
                del self._accounts[self._idle.popitem(last=False)[0]]

    def leave_behind(self) -> None:
        """Resets everything in a forked process. Runs on: its only thread, first."""
        self.__init__(self._config, self.clock)  # type: ignore[misc]

    def _take(self, owner: Owner, allowance: Allowance) -> Account:
        with self._lock:
            account = self._accounts.get(owner.key)
            if account is None:
                account = self._accounts[owner.key] = Account(owner, allowance, self.clock())
            account.sessions += 1
            self._idle.pop(owner.key, None)
            return account


NO_BUDGETS: Final = Budgets()


class Budget:
    """What one session may use: the accounts of its address and, once it is known, of its user.

    Everything runs on the connection's reader thread unless a method says otherwise.
    """

    __slots__ = ("_budgets", "_of_user", "_threads", "accounts", "openers", "refusal", "source")

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self._threads: Account | None = None  # counts the thread that catches up
        self._of_user: list[Account] = []
        self.accounts: list[Account] = []
        self.openers: tuple[Opener, ...] = ()
        """Who counts as the creator of the rooms that the session creates."""
        self.source = ""
        """The address, for which all keys of an anonymous person's messages count; empty for a known user."""
        self.refusal = ""
        """The reason for messages that `grant` did not accept."""

    def begin(self, address: str) -> None:
        """Begins with the accounts of the peer's address. `end` must follow."""
        self.accounts = self._budgets.of_address(address)
        self.source = self.accounts[0].owner.name if self.accounts else ""
        self._note_openers()

    def know(self, user: UserId, *, known: bool) -> None:
        """Adds the account of a user, in place of an earlier one.

        An unknown user has none, but counts as a creator of rooms.
        """
        former, self._of_user = self._of_user, self._budgets.of_user(user) if known else []
        if former or known:
            self._budgets.give_back(former)
            self.accounts = [each for each in self.accounts if each not in former] + self._of_user
            self.source = "" if known else self.source
        self._note_openers()
        most = self._budgets.rooms_of_user()
        if most and not known:
            self.openers += (Opener(("user", user), most, "you", "half of rooms_per_address"),)

    def end(self) -> None:
        """Gives the accounts back."""
        accounts, self.accounts = self.accounts, []
        self._budgets.give_back(accounts)

    def grant(self, count: int, size: int) -> int:
        """Returns how many of `count` messages, of `size` bytes together, are accepted: the first ones."""
        now = self._budgets.clock()
        for account in self.accounts:
            granted = account.grant(count, size, now)
            if granted < count:
                self.refusal = account.refusal(now)
                count = granted
        return count

    @contextmanager
    def question(self) -> Iterator[None]:
        """Takes the CPU time of the block from the budget. Raises CommandError 111 if there is none left."""
        accounts = self.accounts
        if not accounts:
            yield
            return
        now = self._budgets.clock()
        for account in accounts:
            account.check_query(now)
        begun = thread_time()
        try:
            yield
        finally:
            self.spend(thread_time() - begun)

    def may_store(self) -> bool:
        """Whether another direct message may be stored for somebody who is offline."""
        now = self._budgets.clock()
        return all(account.may_store(now) for account in self.accounts)

    def note_stored(self) -> None:
        """Counts a direct message that was stored."""
        now = self._budgets.clock()
        for account in self.accounts:
            account.note_stored(now)

    def hold(self, kind: Kind) -> list[Account]:
        """Counts one more of what is held; `release` must follow with the result. Runs on: any thread.

        Raises CommandError 106, temporary, if there are as many as there may be.
        """
        held: list[Account] = []
        try:
            for account in self.accounts:
                account.hold(kind, self._budgets.clock())
                held.append(account)
        except BaseException:
            self.release(kind, held)
            raise
        return held

    def release(self, kind: Kind, held: Iterable[Account]) -> None:
        """Counts one less. Runs on: any thread."""
        for account in held:
            account.release(kind)

    # See Pace

    def enter(self, start: Callable[[], object]) -> bool:
        """See Pace. The smallest account counts. Runs on: any thread."""
        accounts = [self._threads] if self._threads is not None else self.accounts
        if not accounts:
            return True
        self._threads = accounts[0]
        return accounts[0].begin_catch_up(start)

    def spend(self, seconds: float) -> float:
        """See Pace. Runs on: any thread."""
        now = self._budgets.clock()
        return max([account.spend(seconds, now) for account in self.accounts], default=0.0)

    def leave(self) -> None:
        """See Pace. Runs on: the producer's thread."""
        if self._threads is not None:
            self._threads.end_catch_up()

    def _note_openers(self) -> None:
        self.openers = tuple(
            Opener(
                account.owner.key,
                account.allowance.rooms,
                account.owner.phrase,
                f"{account.owner.share}rooms_per_address",
            )
            for account in self.accounts
        )
