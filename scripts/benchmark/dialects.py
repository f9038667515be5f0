"""The protocols of the servers, as the load generator's templates: paths, greetings and messages."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Conversation:
    """One protocol. The load generator replaces `{n}`, `{group}`, `{to}` and `{marker}`.

    In `again` it replaces `{resume}`, `{offset}` and `{epoch}`, too, by what the first greetings said.
    """

    path: str
    publish: str
    hellos: tuple[str, ...] = ()
    identity: str = ""  # JSON key of the greeting that tells a connection who it is
    ready: str = ""  # KEY or KEY=VALUE of the greeting after which it is ready; empty: at once
    again: tuple[str, ...] = ()  # what those send instead of `hellos` who come back
    level: str = ""  # a piece of the text after which they have all that they missed

    def arguments(self) -> list[str]:
        """Return these settings as the load generator's command line."""
        words = ["--path", self.path, "--publish", self.publish]
        for hello in self.hellos:
            words += ["--hello", hello]
        for hello in self.again:
            words += ["--again", hello]
        if self.level:
            words += ["--level", self.level]
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


HELLO = '{"type":"hello","id":1,"nickname":"u{n}"}'

NATIVE_ROOM = Conversation(
    path="/chat",
    hellos=(HELLO, '{"type":"join","id":2,"room":"bench-{group}"}'),
    identity="user",
    ready="re=2",
    publish='{"type":"message","room":"bench-{group}","message":"{marker}"}',
    again=(
        '{"type":"hello","id":1,"nickname":"u{n}","resume":{resume}}',
        '{"type":"join","id":2,"room":"bench-{group}","since":{"offset":{offset},"epoch":{epoch}}}',
    ),
    level='"type":"live"',
)
NATIVE = Dialect(
    room=NATIVE_ROOM,
    emit=replace(NATIVE_ROOM, publish='{"type":"call","name":"emit","data":["bench-{group}","{marker}"]}'),
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
