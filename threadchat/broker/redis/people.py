"""What a node asks the others about one person: to end, throw out, move or tell their sessions there."""

from __future__ import annotations

from threadchat.broker.redis.node_messages import NodeMessenger
from threadchat.chat.log.events import UserId


class People:
    """The part of a broker that hands such questions to its messenger; see Cluster. To be called on any thread."""

    messenger: NodeMessenger

    def await_ready(self) -> None:
        """Raises CommandError 100 while this node is not part of the cluster."""
        raise NotImplementedError("a broker knows")

    def disconnect(self, user: UserId, code: int, reason: str | None = None) -> int:
        """See Cluster."""
        return self.messenger.disconnect(user, code, reason)

    def kick(self, user: UserId, room: str, reason: str) -> int:
        """See Cluster."""
        return self.messenger.kick(user, room, reason)

    def addresses(self, user: UserId) -> set[str]:
        """See Cluster."""
        return self.messenger.addresses(user)

    def notify(self, user: UserId, json: bytes, *, kept: bool) -> bool:
        """See Cluster."""
        return self.messenger.notify(user, json, kept=kept)

    def sessions(self, user: UserId) -> list[str]:
        """See Cluster."""
        self.await_ready()
        return self.messenger.sessions(user)

    def is_connected(self, user: UserId) -> bool:
        """See Cluster."""
        self.await_ready()
        return self.messenger.is_connected(user)

    def move(self, user: UserId, deed: str, room: str) -> int:
        """See Cluster."""
        self.await_ready()
        return self.messenger.move(user, deed, room)
