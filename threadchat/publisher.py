"""Publishes into a cluster's rooms from a process that serves nobody: a job, a script, a web application."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from threadchat.chat.emitting import draft_event, passing
from threadchat.chat.log.events import MESSAGE, Direct, Draft, Position, UserId, inbox_of, is_inbox, record
from threadchat.chat.log.ids import ID_RULE, LARGEST_ID, is_user_id
from threadchat.chat.log.keys import application_key
from threadchat.chat.log.tail import HISTORY_BYTES, HISTORY_SIZE, INBOX_AGE, INBOX_SIZE
from threadchat.errors import BrokerError, CommandError, ConfigError, ErrorCode
from threadchat.normalize import nfc, nfc_id

if TYPE_CHECKING:
    from threadchat.broker.redis.publisher import RedisPublisher


class Publisher:
    """Says things in rooms, and to people, of the nodes that share a Redis.

    ```python
    from threadchat import Publisher

    with Publisher("redis://127.0.0.1:6379/0") as publisher:
        publisher.publish("lobby", "the nightly report is there", nickname="reporter")
    ```

    It has no thread, and hears nothing. Every method may be called from any thread, and in each child
    after a fork. Two calls that meet share a round trip.
    """

    def __init__(
        self,
        url: str,
        *,
        history_size: int = HISTORY_SIZE,
        history_bytes: int = HISTORY_BYTES,
        inbox_size: int = INBOX_SIZE,
        inbox_age: float = INBOX_AGE,
    ) -> None:
        """`url` is what the nodes have as `broker`, and the others what they have under these names.

        Connects with the first publication. Raises ConfigError for another kind of URL, and BrokerError where
        redis-py is not installed.
        """
        if url.partition("://")[0] not in ("redis", "rediss", "unix"):
            raise ConfigError(f"Publisher({url!r:.80}): must be a redis://, rediss:// or unix:// URL")
        try:
            from threadchat.broker.redis.publisher import RedisPublisher
        except ModuleNotFoundError as error:
            if error.name != "redis":
                raise
            raise BrokerError("redis needs redis-py: pip install 'threadchat[redis]'") from error
        self._speaker: RedisPublisher = RedisPublisher(
            url, history_size, history_bytes, inbox_size=inbox_size, inbox_age=inbox_age
        )

    def publish(
        self, room: str, message: str, *, user: UserId | None = None, nickname: str = "", key: str = ""
    ) -> Position:
        """Says something in a room, which begins with it where there is none; returns its place.

        Once it returns, the message is in the room's log and on its way. The same `key` of the same user
        within five minutes says it once. Raises CommandError 100, temporary, while Redis is away, and 107
        for a room or a message that is empty, and for a key that begins with a NUL.
        """
        if not room.strip() or not message:
            raise CommandError(ErrorCode.BAD_REQUEST, "a room has a name, and a message says something")
        user = None if user is None else nfc_id(user)
        called = nfc(nickname) or ("" if user is None else str(user))
        draft = Draft(MESSAGE, user, called, message, "", application_key(key))
        return self._speaker.publish(nfc(room), [draft])[0]

    def emit(
        self,
        room: str = "",
        name: str = "",
        data: object = None,
        *,
        user: UserId | None = None,
        keep: bool = True,
        skip: str = "",
        key: str = "",
    ) -> Position | None:
        """Has an event of the application's own happen in a room, or (`user`) for one person, on all nodes.

        Everything is as for `Chat.emit`: what is kept is in the room's log, or in the inbox of whoever is
        known, and its place is returned. Raises CommandError 107 for a name that is none and for data that
        JSON cannot carry, 108 for a stranger who is not online, and 100, temporary, while Redis is away.
        """
        if (room.strip() == "") == (user is None) or is_inbox(room):
            raise CommandError(ErrorCode.BAD_REQUEST, "give either a room or a user")
        draft, now = draft_event(name, data, skip=skip, key=key), int(time.time())
        if user is None:
            room = nfc(room)
            if keep:
                return self._speaker.publish(room, [draft])[0]
            self._speaker.tell(room, passing(draft, room, now))
            return None
        if not is_user_id(user, -LARGEST_ID):
            raise CommandError(ErrorCode.BAD_REQUEST, f"user is {user!r:.60}; it must be {ID_RULE}")
        user = nfc_id(user)
        known = isinstance(user, str) or user > 0
        inbox = inbox_of(user)
        place = self._speaker.publish(inbox, [draft])[0] if keep and known else None
        told = record(draft, place.offset if place else 0, inbox, now)
        if not self._speaker.notify(user, told, kept=keep) and keep and not known:
            raise CommandError(ErrorCode.NOT_AVAILABLE, f"user {user} is not online")
        return place

    def direct(self, to: UserId, message: str, *, user: UserId | None = None, nickname: str = "") -> None:
        """Says something to one person, on every node that has them online; whether they take it is not told.

        Raises CommandError 108 where no node has them online, and 100 while Redis is away.
        """
        to, user = nfc_id(to), None if user is None else nfc_id(user)
        direct = Direct(sender=user, to=to, nickname=nfc(nickname), message=message, time=int(time.time()))
        if not self._speaker.direct(direct):
            raise CommandError(ErrorCode.NOT_AVAILABLE, f"user {to} is not online")

    def close(self) -> None:
        """Closes the connections; a later publication opens new ones."""
        self._speaker.close()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
