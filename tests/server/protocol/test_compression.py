"""Compressed events: one compression a broadcast, whoever gets it; and all else of the chat as ever."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.chat.helpers import RecordingSink, join, records, run
from threadchat import Chat, Config
from threadchat.chat.delivery.fanout import Fanout
from threadchat.chat.delivery.subscription import Filter
from threadchat.chat.log.events import Position
from threadchat.server.protocol import compression, encoding
from threadchat.wire.outbox import Answer
from threadchat.wire.protocol import frames
from threadchat.wire.protocol.deflate import DEFLATERS, NARROW, WIDE, Deflater
from threadchat.wire.protocol.requests import Text

LONG = "so they say, " * 30
PATIENCE = 60.0


class Ear(RecordingSink):
    """Keeps the texts that it is offered."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[Text] = []

    def offer(self, payload: Any, listed: list[Any]) -> Answer:
        self.texts.append(payload)
        return Answer.YES

    def offer_light(self, payload: Any, listed: list[Any]) -> Answer:
        self.light.append(payload)
        return Answer.YES


def listening(
    room: Fanout, deflater: Deflater | None, wanted: Filter | None = None, owner: Any = None
) -> Ear:
    ear = Ear()
    encode = compression.NATIVE[deflater]
    room.subscribe(ear, encode, wanted=wanted or Filter(), owner=owner).start()
    return ear


@pytest.fixture
def compressed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was compressed, in order."""
    found: list[bytes] = []
    deflate = Deflater._deflated

    def counting(self: Deflater, payload: bytes) -> bytes:
        found.append(payload)
        return deflate(self, payload)

    monkeypatch.setattr(Deflater, "_deflated", counting)
    return found


@pytest.fixture
def room() -> Fanout:
    fanout = Fanout("r")
    fanout.begin(Position(0, "e"))
    return fanout


def test_a_thousand_members_cost_one_compression_a_message(room: Fanout, compressed: list[bytes]) -> None:
    """Those with a filter too, although each of them is encoded for by itself."""
    ears = [listening(room, WIDE) for _ in range(900)]
    ears += [listening(room, WIDE, Filter(["message"])) for _ in range(100)]
    said = records(1, 3, LONG)
    for record in said:
        room.deliver([record])
    assert compressed == [record.json for record in said]
    first = ears[0].texts
    assert len(first) == 3
    assert all(ear.texts == first for ear in ears), "the very same for everybody"


def test_whoever_takes_it_otherwise_costs_one_more(room: Fanout, compressed: list[bytes]) -> None:
    ears = {deflater: listening(room, deflater) for deflater in (None, *DEFLATERS)}
    said = records(1, 1, LONG)
    room.deliver(said)
    assert compressed == [said[0].json] * 2
    assert ears[None].texts[0].frame == frames.encode(frames.TEXT, said[0].json)
    for deflater in (WIDE, NARROW):
        frame = ears[deflater].texts[0].frame
        header = frames.read_header(frame, 0)
        assert header is not None
        assert header.deflated
        stream = zlib.decompressobj(-deflater.window_bits)
        assert stream.decompress(frame[header.body :] + b"\x00\x00\xff\xff") == said[0].json


def test_short_messages_are_the_same_for_all_and_not_compressed(
    room: Fanout, compressed: list[bytes]
) -> None:
    ears = [listening(room, deflater) for deflater in (None, WIDE)]
    room.deliver(records(1, 1, ""))
    assert compressed == []
    assert ears[0].texts[0].frame == ears[1].texts[0].frame


def test_what_is_whispered_reaches_members_of_every_kind(room: Fanout) -> None:
    ears = [listening(room, deflater, owner=i) for i, deflater in enumerate((None, *DEFLATERS))]
    ears.append(listening(room, WIDE, Filter(["message"]), owner=9))
    room.subscribe(other := Ear(), compression.BROADCAST[WIDE], owner=10).start()
    text = encoding.typing_text("r", 1, "ann")
    room.whisper(text, compression.NATIVE.values(), but=1)
    assert [ear.light for ear in (*ears, other)] == [[text], [], [text], [text], []]


def test_other_events_are_not_taken_for_the_last_ones(compressed: list[bytes]) -> None:
    pack = compression.CompressedEncoder(encoding.native_events, WIDE)
    one, other = records(1, 1, LONG), records(1, 2, LONG)
    assert pack(one) is pack(list(one))
    assert pack(other).messages == 2
    assert pack(one).messages == 1
    assert len(compressed) == 1 + 2 + 1


def test_from_many_threads_everybody_gets_their_own() -> None:
    pack = compression.CompressedEncoder(encoding.native_events, WIDE)
    plans = [records(i, i, f"{LONG}{i}") for i in range(1, 5)]
    expected = [WIDE.pack(encoding.native_events(plan)).frame for plan in plans]
    got: list[set[bytes]] = [set() for _ in plans]

    def ask(i: int) -> None:
        for _ in range(300):
            got[i].add(pack(plans[i]).frame)

    join(run(*[lambda i=i: ask(i) for i in range(4)]))
    assert got == [{frame} for frame in expected]


# -- a whole chat --------------------------------------------------------------------------------------


@contextmanager
def chatting(**settings: Any) -> Iterator[tuple[Chat, ExitStack]]:
    with Chat(Config(**settings)) as chat, ExitStack() as stack:
        chat.listen(0, "127.0.0.1")
        yield chat, stack


def client(
    chat: Chat, stack: ExitStack, path: str = "chat", compression: str | None = "deflate"
) -> ClientConnection:
    url = chat.url.replace("http:", "ws:") + path
    return stack.enter_context(connect(url, compression=compression, proxy=None, open_timeout=PATIENCE))


def ask(peer: ClientConnection, command: str, **fields: Any) -> dict[str, Any]:
    """The reply; what comes before it is not looked at."""
    peer.send(json.dumps({"type": command, "id": command, **fields}))
    while True:
        message: dict[str, Any] = json.loads(peer.recv(PATIENCE))
        if message.get("re") == command:
            assert message["type"] == "ok", message
            return message


def heard(peer: ClientConnection, kind: str) -> dict[str, Any]:
    while True:
        message: dict[str, Any] = json.loads(peer.recv(PATIENCE))
        if message["type"] == kind:
            return message


def test_a_chat_with_compressed_and_other_members(compressed: list[bytes]) -> None:
    with chatting(compression=True) as (chat, stack):
        peers = [client(chat, stack), client(chat, stack), client(chat, stack, compression=None)]
        assert peers[0].response is not None
        assert "permessage-deflate" in peers[0].response.headers["Sec-WebSocket-Extensions"]
        users = []
        for i, peer in enumerate(peers):
            users.append(ask(peer, "hello", nickname=f"user {i}")["user"])
            ask(peer, "join", room="lobby")
        before = len(compressed)
        ask(peers[2], "message", room="lobby", message=LONG)
        assert [heard(peer, "message")["message"] for peer in peers[:2]] == [LONG, LONG]
        assert len([payload for payload in compressed[before:] if LONG.encode() in payload]) == 1
        assert ask(peers[0], "history", room="lobby")["events"][-1]["message"] == LONG
        ask(peers[2], "typing", room="lobby")
        assert [heard(peer, "typing")["from"] for peer in peers[:2]] == ["user 2", "user 2"]
        ask(peers[0], "message", room="lobby", message="x" * 1000)
        ask(peers[2], "direct", to=users[1], message=LONG)
        assert heard(peers[1], "direct")["message"] == LONG
        assert any(b'"direct"' in payload for payload in compressed)


def test_the_older_dialects_too(compressed: list[bytes]) -> None:
    with chatting(compression=True) as (chat, stack):
        ann, bob = (client(chat, stack, "ws", compression=each) for each in ("deflate", None))
        ann.send(json.dumps({"from": "ann", "message": LONG}))
        for peer in (ann, bob):
            assert json.loads(peer.recv(PATIENCE)) == {"from": "ann", "message": LONG}
        assert len(compressed) == 1
        cid, dan = (client(chat, stack, "", compression="deflate") for _ in range(2))
        ids = [json.loads(peer.recv(PATIENCE))["id"] for peer in (cid, dan)]
        cid.send(json.dumps({"to": ids[1], "message": LONG}))
        assert json.loads(dan.recv(PATIENCE)) == {"from": ids[0], "message": LONG}
        assert len(compressed) == 2


def test_it_is_off_unless_asked_for(compressed: list[bytes]) -> None:
    with chatting() as (chat, stack):
        peer = client(chat, stack, "ws")
        assert peer.response is not None
        assert "Sec-WebSocket-Extensions" not in peer.response.headers
        peer.send(json.dumps({"from": "ann", "message": LONG}))
        assert json.loads(peer.recv(PATIENCE))["message"] == LONG
        assert compressed == []
