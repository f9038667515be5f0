"""Messages between nodes about one person: direct messages, events, and requests about their sessions."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from functools import partial
from typing import Any, Final

import msgspec

from threadchat.broker.redis.connection import PAGE, TIMEOUT, RedisConnection
from threadchat.broker.redis.keys import KeyNames
from threadchat.broker.redis.subscriber import Subscriber
from threadchat.chat.broker_interface import Node, OpenInbox, Reach
from threadchat.chat.log.events import Direct, UserId, inbox_of, record_of
from threadchat.errors import CommandError, ErrorCode, RoomClosed
from threadchat.wire.threads.worker_pool import WorkerPool

log = logging.getLogger(__name__)

ANSWER_TIMEOUT: Final = 2.0
"""Seconds to wait for the answers of other nodes."""

_REACHES: Final[dict[Reach, int]] = {True: 1, False: 0, None: -1}


class NodeMessage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A request to the nodes that have a person online.

    It asks them to take a direct message; to take an `event`, which may be `kept` in the inbox; to do a
    `action` in a room, or without one to evict the person from it; or to close the connections with a code.
    Otherwise it asks for the addresses and session ids. `sender` is the channel for the answer. If it is
    empty, no node answers.
    """

    node: str
    sender: str
    number: int
    user: UserId
    direct: Direct | None = None
    code: int = 0
    reason: str | None = None
    room: str = ""
    action: str = ""
    event: str = ""
    kept: bool = False


class Answer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one node answers to a NodeMessage."""

    number: int
    value: int = 0
    addresses: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()


_encode = msgspec.json.encode
_read_node_message = msgspec.json.Decoder(NodeMessage).decode
_read_answer = msgspec.json.Decoder(Answer).decode


class _Question:
    """A caller that waits for answers. The messenger's lock guards `answers`."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []


class NodeMessenger:
    """Receives requests about the people of this node, and sends requests about others to their nodes.

    `_lock`, which `_changed` shares, guards `_counts`, `_questions` and `_asked`. The subscriber's lock may
    be acquired while it is held.
    """

    def __init__(
        self,
        node: str,
        names: KeyNames,
        connection: RedisConnection,
        subscriber: Subscriber,
        worker_pool: WorkerPool,
    ) -> None:
        self._node = node
        self._names = names
        self._connection = connection
        self._subscriber = subscriber
        self._worker_pool = worker_pool
        self._asked = 0
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._counts: Counter[UserId] = Counter()
        self._questions: dict[int, _Question] = {}
        self.here: Node | None = None
        self.open_inbox: OpenInbox | None = None

    # People of this node

    def arrive(self, user: UserId) -> None:
        """Subscribes to the person's channel, so that other nodes reach them here. Waits for Redis.

        Runs on: any thread.
        """
        with self._lock:
            self._counts[user] += 1
            if self._counts[user] > 1:
                return
            confirmed = self._subscriber.subscribe(self._names.person(user), self.receive)
        confirmed.wait(TIMEOUT if self._connection.ready else 0)

    def depart(self, user: UserId) -> None:
        """Notes that a session ended. Runs on: any thread."""
        with self._lock:
            self._counts[user] -= 1
            if self._counts[user] > 0:
                return
            del self._counts[user]
            self._subscriber.unsubscribe(self._names.person(user), self.receive)

    def find_inboxes(self) -> None:
        """Opens the inboxes of people on this node that got an event while the node was disconnected.

        Runs on: a worker's thread.
        """
        with self._lock:
            users = list(self._counts)
        try:
            for start in range(0, len(users), PAGE):
                some = users[start : start + PAGE]
                metas = [self._names.room(inbox_of(user)).keys.meta for user in some]
                found = self._connection.execute(*[("EXISTS", meta) for meta in metas])
                for user, exists in zip(some, found, strict=True):
                    if exists and self.open_inbox is not None:
                        self.open_inbox(user)
        except CommandError as error:  # looked up again when Redis is back
            log.info("inboxes will be looked up later: %s", error)

    # Asking

    def direct(self, direct: Direct, here: Reach) -> Reach:
        """See Cluster. If a session on this node took the message, does not wait for answers."""
        try:
            answers = self._ask(direct.to, here is not True, direct=direct)
        except CommandError:
            if here is True:
                return True
            raise
        values = [_REACHES[here], *[answer.value for answer in answers]]
        return next(reach for reach, value in _REACHES.items() if value == max(values))

    def disconnect(self, user: UserId, code: int, reason: str | None) -> int:
        """See Cluster."""
        return sum(answer.value for answer in self._ask(user, True, code=code, reason=reason))

    def kick(self, user: UserId, room: str, reason: str) -> int:
        """See Cluster."""
        return sum(answer.value for answer in self._ask(user, True, room=room, reason=reason))

    def addresses(self, user: UserId) -> set[str]:
        """See Cluster."""
        return {address for answer in self._ask(user, True) for address in answer.addresses}

    def notify(self, user: UserId, json: bytes, *, kept: bool) -> bool:
        """See Cluster."""
        node_message = _encode(NodeMessage(self._node, "", 0, user, event=json.decode(), kept=kept))
        try:
            nodes = self._connection.publish(self._names.person(user), node_message)
        except CommandError as error:
            log.info("user %s will get an event later: %s", user, error)
            return False
        with self._lock:
            return nodes > (user in self._counts)

    def sessions(self, user: UserId) -> list[str]:
        """See Cluster."""
        return [session for answer in self._ask(user, True) for session in answer.sessions]

    def is_connected(self, user: UserId) -> bool:
        """See Cluster."""
        nodes = self._connection.subscribers(self._names.person(user))
        with self._lock:
            return nodes > (user in self._counts)

    def move(self, user: UserId, action: str, room: str) -> int:
        """See Cluster."""
        return sum(answer.value for answer in self._ask(user, True, room=room, action=action))

    def _ask(self, user: UserId, wait: bool, **content: Any) -> list[Answer]:
        """Returns the answers of the nodes that have the person online. This node's own answer is empty.

        Raises CommandError 100 if a node does not answer in time.
        """
        question = _Question()
        with self._lock:
            self._asked += 1
            number = self._asked
            self._questions[number] = question
        try:
            sender = self._names.node(self._node) if wait else ""
            node_message = _encode(NodeMessage(self._node, sender, number, user, **content))
            nodes = self._connection.publish(self._names.person(user), node_message)
            if not wait:
                return []
            with self._changed:
                if not self._changed.wait_for(lambda: len(question.answers) >= nodes, ANSWER_TIMEOUT):
                    if "direct" in content and any(answer.value == 1 for answer in question.answers):
                        return question.answers
                    raise CommandError(ErrorCode.INTERNAL, f"the node of user {user} does not answer")
            return question.answers
        finally:
            with self._lock:
                del self._questions[number]

    def answered(self, payload: bytes) -> None:
        """Notes an answer. Runs on: the subscriber's thread."""
        self._note(_read_answer(payload))

    def _note(self, answer: Answer) -> None:
        with self._changed:
            question = self._questions.get(answer.number)
            if question is not None:
                question.answers.append(answer)
                self._changed.notify_all()

    # Answering

    def receive(self, payloads: list[bytes]) -> None:
        """Handles requests and has them answered. Runs on: the subscriber's thread."""
        for payload in payloads:
            node_message = _read_node_message(payload)
            if node_message.node == self._node:  # the caller has asked its own node already
                self._note(Answer(node_message.number, 0 if node_message.direct is None else _REACHES[None]))
                continue
            if self.here is None:
                continue
            if node_message.event:
                self._tell(self.here, node_message)
                continue
            if node_message.room:  # this may block, and needs Redis
                self._worker_pool.submit(partial(self._evict, self.here, node_message))
                continue
            answer = self._do(self.here, node_message)
            if node_message.sender:
                self._worker_pool.submit(partial(self._answer, node_message.sender, answer))

    def _do(self, here: Node, node_message: NodeMessage) -> Answer:
        if node_message.direct is not None:
            return Answer(node_message.number, _REACHES[here.offer(node_message.direct)])
        if node_message.code:
            return Answer(
                node_message.number, here.end(node_message.user, node_message.code, node_message.reason)
            )
        addresses, sessions = here.addresses(node_message.user), here.sessions(node_message.user)
        return Answer(node_message.number, addresses=tuple(addresses), sessions=tuple(sessions))

    def _tell(self, here: Node, node_message: NodeMessage) -> None:
        """Offers an event. If it is kept, also opens the inbox, on a worker because that may block."""
        here.notify(node_message.user, record_of(node_message.event.encode()), kept=node_message.kept)
        if node_message.kept and self.open_inbox is not None:
            self._worker_pool.submit(partial(self._open, self.open_inbox, node_message.user))

    def _open(self, open_inbox: OpenInbox, user: UserId) -> None:
        """Runs on: a worker's thread."""
        try:
            open_inbox(user)
        except (CommandError, RoomClosed) as error:  # opened with the next event, or when Redis is back
            log.info("the inbox of user %s will be opened later: %s", user, error)

    def _evict(self, here: Node, node_message: NodeMessage) -> None:
        """Runs on: a worker's thread."""
        if node_message.action:
            ended = here.move(node_message.user, node_message.action, node_message.room)
        else:
            ended = here.evict(node_message.user, node_message.room, node_message.reason or "")
        self._answer(node_message.sender, Answer(node_message.number, ended))

    def _answer(self, channel: str, answer: Answer) -> None:
        """Runs on: a worker's thread."""
        try:
            self._connection.publish(channel, _encode(answer))
        except CommandError as error:  # the caller gives up after its timeout
            log.info("an answer was lost: %s", error)


def anonymous_direct(direct: Direct) -> bytes:
    """A direct message from a process that is not a node. No node answers it."""
    return _encode(NodeMessage("", "", 0, direct.to, direct))


def anonymous_event(user: UserId, json: bytes, *, kept: bool) -> bytes:
    """An event for a person from a process that is not a node. No node answers it."""
    return _encode(NodeMessage("", "", 0, user, event=json.decode(), kept=kept))
