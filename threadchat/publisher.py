"""Publishes in a cluster from a process that serves no clients: a job, a script, a web application."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from threadchat.chat.emitting import draft_event, passing
from threadchat.chat.log.events import MESSAGE, Direct, Draft, Position, UserId, inbox_of, is_inbox, record
from threadchat.chat.log.ids import ID_RULE, LARGEST_ID, is_user_id
from threadchat.chat.log.keys import application_key
from threadchat.chat.log.tail import HISTORY_BYTES, HISTORY_SIZE, INBOX_AGE, INBOX_SIZE
from threadchat.config.texts import REDIS_SCHEMES
from threadchat.errors import BrokerError, CommandError, ConfigError, ErrorCode
from threadchat.normalize import nfc, nfc_id

if TYPE_CHECKING:
    from threadchat.broker.redis.publisher import RedisPublisher


class Publisher:
    """Publishes in rooms, and to people, of the nodes that share a Redis.

    ```python
    from threadchat import Publisher

    with Publisher("redis://127.0.0.1:6379/0") as publisher:
        publisher.publish("lobby", "the nightly report is there", nickname="reporter")
    ```

    It starts no thread and receives nothing. Every method may be called from any thread, and also in a child
    process after a fork. Calls at the same time share a round trip.
    """

    def __init__(
        self,
        url: str,
        *,
        history_size: int = HISTORY_SIZE,
        history_bytes: int = HISTORY_BYTES,
        inbox_size: int = INBOX_SIZE,
        inbox_age: float = INBOX_AGE,
        wait_replicas: int = 0,
    ) -> None:
        """`url` is the nodes' `broker` setting. The other arguments are their settings of the same names.

        Connects with the first publication. Raises ConfigError for another kind of URL, and BrokerError if
        redis-py is not installed.
        """
        if not isinstance(url, str):
            raise ConfigError(
                f"Publisher was given a {type(url).__name__}; it must be the URL of a Redis: "
                "write Publisher(config.broker)"
            )
        if url.partition("://")[0] not in REDIS_SCHEMES:
            raise ConfigError(f"Publisher({url!r:.80}): must be a {'://, '.join(REDIS_SCHEMES)}:// URL")
        try:
            from threadchat.broker.redis.publisher import RedisPublisher
        except ModuleNotFoundError as error:
            if error.name != "redis":
                raise
            raise BrokerError("redis needs redis-py: pip install 'threadchat[redis]'") from error
        self._redis: RedisPublisher = RedisPublisher(
            url,
            history_size,
            history_bytes,
            inbox_size=inbox_size,
            inbox_age=inbox_age,
            wait_replicas=wait_replicas,
        )

    def publish(
        self, room: str, message: str, *, user: UserId | None = None, nickname: str = "", key: str = ""
    ) -> Position:
        """Publishes a message in a room, which is created if needed. Returns its position.

        Once this returns, the message is in the room's log and on its way. Messages of one user with the same
        `key` within five minutes are published once. Raises CommandError 100, temporary, while Redis is away.
        Raises 107 if the room or the message is empty, or the key begins with a NUL.
        """
        if not room.strip() or not message:
            raise CommandError(ErrorCode.BAD_REQUEST, "room and message must not be empty")
        user = None if user is None else nfc_id(user)
        called = nfc(nickname) or ("" if user is None else str(user))
        draft = Draft(MESSAGE, user, called, message, "", application_key(key))
        return self._redis.publish(nfc(room), [draft])[0]

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
        """Emits an event of the application's own in a room, or for one person (`user`), on all nodes.

        Works as `Chat.emit`. With `keep`, the event is kept in the room's log, or in the person's inbox if
        they have one, and its position is returned. Raises CommandError 107 if the name is not valid or the
        data cannot be encoded as JSON, 108 for a stranger who is not online, and 100, temporary, while Redis
        is away.
        """
        if (room.strip() == "") == (user is None) or is_inbox(room):
            raise CommandError(ErrorCode.BAD_REQUEST, "give either a room or a user")
        draft, now = draft_event(name, data, skip=skip, key=key), int(time.time())
        if user is None:
            room = nfc(room)
            if keep:
                return self._redis.publish(room, [draft])[0]
            self._redis.tell(room, passing(draft, room, now))
            return None
        if not is_user_id(user, -LARGEST_ID):
            raise CommandError(ErrorCode.BAD_REQUEST, f"user is {user!r:.60}; it must be {ID_RULE}")
        user = nfc_id(user)
        known = isinstance(user, str) or user > 0
        inbox = inbox_of(user)
        place = self._redis.publish(inbox, [draft])[0] if keep and known else None
        told = record(draft, place.offset if place else 0, inbox, now)
        if not self._redis.notify(user, told, kept=keep) and keep and not known:
            raise CommandError(ErrorCode.NOT_AVAILABLE, f"user {user} is not online")
        return place

    def direct(self, to: UserId, message: str, *, user: UserId | None = None, nickname: str = "") -> None:
        """Sends a message to one person, on every node where they are online.

        It is not known whether a session takes it. Raises CommandError 108 if they are online on no node, 103
        if they block the `user`, and 100 while Redis is away.
        """
        to, user = nfc_id(to), None if user is None else nfc_id(user)
        direct = Direct(sender=user, to=to, nickname=nfc(nickname), message=message, time=int(time.time()))
        if not self._redis.direct(direct):
            raise CommandError(ErrorCode.NOT_AVAILABLE, f"user {to} is not online")

    def close(self) -> None:
        """Closes the connections. A later publication opens new ones."""
        self._redis.close()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
