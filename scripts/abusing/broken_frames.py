"""Frames that the specification forbids, each on a connection of its own, and the expected close codes."""

from __future__ import annotations

from abusing.abuse import abuse
from abusing.handshakes import stated
from abusing.stranger import text
from abusing.target import Answers, Target, answers
from tests.e2e.crowd import CLOSE, MASK, PING, TEXT, encode

CONTINUATION, BINARY = 0x0, 0x2


def frame(first: int, payload: bytes = b"") -> bytes:
    """A frame whose first byte is as given."""
    return bytes((first,)) + encode(TEXT, payload)[1:]


def part(opcode: int, payload: bytes) -> bytes:
    """A fragment that is not the last."""
    return bytes((opcode,)) + encode(opcode, payload)[1:]


def declares(size: int, opcode: int = 0x80 | TEXT) -> bytes:
    """The header of a frame with this length, in eight bytes."""
    return bytes((opcode, 0x80 | 127)) + size.to_bytes(8, "big") + MASK


def closing(payload: bytes) -> bytes:
    return encode(CLOSE, payload)


BROKEN: dict[str, tuple[bytes, str]] = {
    "no mask": (b"\x81\x02hi", "1002"),
    "no mask, and long": (b"\x81\x7e\xff\xff" + b"a" * 65_535, "1002"),
    **{f"opcode {code:#x}": (frame(0x80 | code), "1002") for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    **{f"reserved bit {bit:#x}": (frame(0x80 | TEXT | bit, b"hi"), "1002") for bit in (0x10, 0x20, 0x40)},
    "a reserved bit on a ping": (frame(0x80 | PING | 0x40, b"hi"), "1002"),
    "a long ping": (encode(PING, b"a" * 126), "1002"),
    "a ping in fragments": (part(PING, b"hi"), "1002"),
    "a length of 16 bits too many": (b"\x81\xfe\x00\x02" + MASK + b"hi", "1002"),
    "a length of 64 bits too many": (declares(2) + b"hi", "1002"),
    "a length of 2^63": (declares(1 << 63), "1002"),
    "a length of 2^64 - 1": (declares((1 << 64) - 1), "1002"),
    "a continuation of nothing": (encode(CONTINUATION, b"hi"), "1002"),
    "a text within a text": (part(TEXT, b"a") + encode(TEXT, b"b"), "1002"),
    "a binary within a text": (part(TEXT, b"a") + encode(BINARY, b"b"), "1002"),
    "a Close of one byte": (closing(b"\x03"), "1002"),
    **{
        f"a Close of {code}": (closing(code.to_bytes(2, "big")), "1002")
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535)
    },
    "a Close with bad UTF-8": (closing(b"\x03\xe8\xff"), "1007"),
    "binary": (encode(BINARY, b"\x00\x01"), "1003"),
    "bad UTF-8": (encode(TEXT, b"\xff\xfe"), "1007"),
    "bad UTF-8 at the end": (encode(TEXT, b"a" * 1000 + b"\xc3"), "1007"),
    "bad UTF-8 in a text that goes on": (part(TEXT, b"hi \xff"), "1007"),
    "a surrogate": (encode(TEXT, b"\xed\xa0\x80"), "1007"),
    "too high a character": (encode(TEXT, b"\xf4\x90\x80\x80"), "1007"),
    "a slash in two bytes": (encode(TEXT, b"\xc0\xaf"), "1007"),
    "bad UTF-8 across fragments": (part(TEXT, b"\xe2\x82") + encode(CONTINUATION, b"a"), "1007"),
}


@abuse("broken frames", "1002", "1003", "1007")
def broken_frames(target: Target) -> Answers:
    """Each on a connection of its own; further commands follow, which the server must not answer."""
    total = Answers()
    for _ in range(target.size(10, 1)):
        strangers = []
        for what, (data, expected) in BROKEN.items():
            stranger = target.enter()
            stranger.texts.clear()
            stranger.send(data + text({"type": "ping", "id": "after"}) * 3)
            strangers.append((stranger, expected, what))
        for stranger, expected, what in strangers:
            total[stated(stranger, expected, f"for {what}")] += 1
            if stranger.texts:
                total[f"{what}: answered what came after it"] += 1
            stranger.sock.close()
    return total


@abuse("huge lengths", "1009")
def huge_lengths(target: Target) -> Answers:
    """Only declared, declared and sent, or spread over fragments: refused before it is buffered."""
    sizes = (512_001, 1 << 20, 1 << 31, 1 << 40, 1 << 62)
    strangers = []
    for size in sizes * target.size(10, 2):
        stranger = target.enter()
        stranger.send(declares(size))
        strangers.append(stranger)
    for size in sizes:
        stranger = target.enter()
        stranger.send(declares(size) + b"a" * target.size(16_000_000, 4_000_000))
        strangers.append(stranger)
    for opcode in (TEXT, BINARY):
        added = target.enter()
        added.send(part(opcode, b"a" * 500_000) + declares(1 << 62, CONTINUATION))
        endless = target.enter()
        endless.send(part(opcode, b"a" * 60_000) + part(CONTINUATION, b"a" * 60_000) * target.size(200, 50))
        strangers += [added, endless]
    return answers(strangers)


@abuse("fragment floods", "served", "1009", "3013")
def fragment_floods(target: Target) -> Answers:
    """A message of a million empty fragments, one of single bytes, one with pings in between."""
    many = target.size(1_000_000, 30_000)
    total = Answers()
    pinged = (part(CONTINUATION, b" ") + encode(PING, b"p")) * (many // 10)
    floods = {
        "empty ones": (part(TEXT, b"") + part(CONTINUATION, b"") * many, "served"),
        "single bytes": (part(TEXT, b" ") + part(CONTINUATION, b" ") * (many // 5), "served"),
        "pings between": (part(TEXT, b"") + pinged, "3013"),
        "tens without an end": (part(TEXT, b" ") + part(CONTINUATION, b" " * 10) * 51_300, "1009"),
    }
    for what, (data, expected) in floods.items():
        stranger = target.enter()
        stranger.send_reading(data + encode(CONTINUATION, b"{}"))
        answer = stranger.served()
        total[answer if answer == expected else f"{answer} instead of {expected} for {what}"] += 1
    return total


@abuse("ping flood", "3013")
def ping_flood(target: Target) -> Answers:
    """As many pings as possible; the pongs are read."""
    count = target.size(100_000, 20_000)
    total = Answers()
    for size in (0, 4, 125):
        stranger = target.enter()
        stranger.send_reading(encode(PING, b"p" * size) * count)
        total[stranger.served()] += 1
    return total


@abuse("pong flood", "3013")
def pong_flood(target: Target) -> Answers:
    """Unsolicited pongs."""
    stranger = target.enter()
    stranger.send_reading(encode(0xA, b"nobody asked") * target.size(100_000, 20_000))
    return Answers([stranger.served()])


ALL = (broken_frames, huge_lengths, fragment_floods, ping_flood, pong_flood)
