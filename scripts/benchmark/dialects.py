"""The protocols of the servers, as the load generator's templates: paths, greetings and messages."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Conversation:
    """One protocol. The load generator replaces `{n}`, `{group}`, `{to}` and `{marker}`."""

    path: str
    publish: str
    hellos: tuple[str, ...] = ()
    identity: str = ""  # JSON key of the greeting that tells a connection who it is
    ready: str = ""  # KEY or KEY=VALUE of the greeting after which it is ready; empty: at once

    def arguments(self) -> list[str]:
        """Return these settings as the load generator's command line."""
        words = ["--path", self.path, "--publish", self.publish]
        for hello in self.hellos:
            words += ["--hello", hello]
        if self.identity:
            words += ["--identity", self.identity]
        if self.ready:
            words += ["--ready", self.ready]
        return words


@dataclass(frozen=True)
class Dialect:
    """What a server offers: rooms, direct messages, and messages of its application."""

    room: Conversation
    direct: Conversation
    emit: Conversation | None = None
    publish: Conversation | None = None


def _calling(name: str, room: Conversation) -> Conversation:
    """A room in which the application sends the text with which its command is called."""
    return replace(room, publish=f'{{"type":"call","name":"{name}","data":["bench-{{group}}","{{marker}}"]}}')


HELLO = '{"type":"hello","id":1,"nickname":"u{n}"}'

NATIVE_ROOM = Conversation(
    path="/chat",
    hellos=(HELLO, '{"type":"join","id":2,"room":"bench-{group}"}'),
    identity="user",
    ready="re=2",
    publish='{"type":"message","room":"bench-{group}","message":"{marker}"}',
)
NATIVE = Dialect(
    room=NATIVE_ROOM,
    emit=_calling("emit", NATIVE_ROOM),
    publish=_calling("publish", NATIVE_ROOM),
    direct=Conversation(
        path="/chat",
        hellos=(HELLO,),
        identity="user",
        ready="re=1",
        publish='{"type":"direct","to":{to},"message":"{marker}"}',
    ),
)

# The peers: a room relays what it gets, byte for byte, which is less work than the native dialect's.
PLAIN = Dialect(
    room=Conversation(path="/rooms/bench-{group}", publish='{"from":"u{n}","message":"{marker}"}'),
    direct=Conversation(path="/", identity="id", ready="id", publish='{"to":{to},"message":"{marker}"}'),
)
