"""Probes of open connections: messages, pings, how they end, and what is known of them."""

from __future__ import annotations

import struct
import threading
from typing import Any

from parity_probes.peers import WAIT, both, echo, fed, serving
from parity_probes.probing import Table, attempt

MESSAGES: list[tuple[str, Any, bool | None]] = [
    ("text", "hi", None),
    ("empty text", "", None),
    ("long text", "ü" * 40_000, None),
    ("bytes", b"\0\xff", None),
    ("empty bytes", b"", None),
    ("bytearray", bytearray(b"ba"), None),
    ("memoryview", memoryview(b"mv"), None),
    ("bytes as text", b"abc", True),
    ("text as bytes", "abc", False),
    ("list of text", ["to", "ge", "ther"], None),
    ("tuple of bytes", (b"a", bytearray(b"b")), None),
    ("list with empty pieces", ["", "a", ""], None),
    ("pieces of bytes as text", [b"a", b"b"], True),
    ("pieces of text as bytes", ["a", "b"], False),
    ("1 MiB", b"x" * (1 << 20), None),
]
REFUSED: list[tuple[str, Any]] = [
    ("number", 3),
    ("none", None),
    ("dict", {"a": 1}),
    ("list of numbers", [1]),
    ("object", object()),
]
BAD_FRAMES: list[tuple[str, bytes]] = [
    ("unknown opcode", b"\x83\x00"),
    ("reserved bit", b"\xc1\x00"),
    ("bad UTF-8", b"\x81\x01\xff"),
    ("continuation of nothing", b"\x80\x00"),
    ("message within a message", b"\x01\x01a\x01\x01b"),
    ("long ping", b"\x89\x7e\x00\x7e" + b"x" * 126),
    ("ping in fragments", b"\x09\x00"),
    ("masked", b"\x81\x81aaaaa"),
    ("close of one byte", b"\x88\x01a"),
    ("close 999", b"\x88\x02\x03\xe7"),
    ("close 1005", b"\x88\x02\x03\xed"),
    ("close with bad UTF-8", b"\x88\x03\x03\xe8\xff"),
    ("too big", b"\x81\x7f" + struct.pack("!Q", 1 << 30)),
]
CLOSES: list[tuple[str, bytes]] = [
    ("no code", b"\x88\x00"),
    ("1000", b"\x88\x02\x03\xe8"),
    ("1000 with reason", b"\x88\x05\x03\xe8bye"),
    ("1001", b"\x88\x02\x03\xe9"),
    ("1011", b"\x88\x02\x03\xf3"),
    ("3000", b"\x88\x04\x0b\xb8hi"),
    ("4999", b"\x88\x02\x13\x87"),
    ("after messages", b"\x81\x01a\x82\x01b\x88\x02\x03\xe8"),
    ("after fragments", b"\x01\x01a\x00\x01b\x80\x01c\x88\x02\x03\xe8"),
    ("after half a message", b"\x01\x01a\x88\x02\x03\xe8"),
]
MEMBERS = [
    "id",
    "logger",
    "protocol",
    "request",
    "response",
    "state",
    "socket",
    "subprotocol",
    "local_address",
    "remote_address",
    "latency",
    "close_code",
    "close_reason",
    "recv",
    "recv_streaming",
    "send",
    "close",
    "wait_closed",
    "ping",
    "pong",
    "__iter__",
    "__enter__",
    "__exit__",
]
SERVER_MEMBERS = [
    "socket",
    "connections",
    "serve_forever",
    "shutdown",
    "fileno",
    "logger",
    "__enter__",
    "__exit__",
]


def fill(table: Table) -> None:
    """Adds the probes."""
    table.each("echo: {}", MESSAGES, lambda lib, case: _echoed(lib, case[1], case[2]))
    table.each("send refuses: {}", REFUSED, lambda lib, case: _refused(lib, case[1]))
    table.each("broken: {}", BAD_FRAMES, lambda lib, case: _received(lib, case[1], text=False))
    table.each("peer closes: {}", CLOSES, lambda lib, case: _received(lib, case[1], text=True))
    table.each("member of ClientConnection: {}", MEMBERS, lambda lib, name: _has(lib, name))
    table.each("member of Server: {}", SERVER_MEMBERS, lambda lib, name: _server_has(lib, name))
    table.each("close code {}", (999, 1004, 1005, 1006, 1015, 2000, 2999, 5000), _bad_code)
    table.each("close with {}", (1000, 1001, 1002, 1003, 1008, 1011, 1012, 3000, 4000, 4999), _good_code)
    for name, question in QUESTIONS.items():
        table.add(name, lambda lib, question=question: _asked(lib, question))
    for name, handler in HANDLERS.items():
        table.add(f"handler: {name}", lambda lib, handler=handler: _ended_by(lib, handler))
    table.add("a peer that answers no ping", _silent)
    table.add("ping: the same payload while it waits", _same_ping)
    table.add("ping: seventeen that wait", _many_pings)
    table.add("send: a peer that takes nothing", _stalled, slow=True)
    table.add("a message in two fragments: recv_streaming", _two_fragments)


def _echoed(lib: Any, message: Any, text: bool | None) -> object:
    with both(lib, echo, max_size=2 << 20, client={"max_size": 2 << 20}) as websocket:
        websocket.send(message, text=text)
        return websocket.recv(WAIT)


def _refused(lib: Any, message: Any) -> object:
    with both(lib, echo) as websocket:
        first = attempt(lambda: websocket.send(message))
        return first, attempt(lambda: websocket.send("still there")), websocket.state


def _received(lib: Any, frames: bytes, *, text: bool) -> object:
    with fed(lib, frames, stays=False) as websocket:
        found: list[object] = []
        try:
            while True:
                found.append(websocket.recv(WAIT))
        except Exception as error:
            rcvd, sent = (frame and frame.code for frame in (error.rcvd, error.sent))
            found += [error, rcvd, sent, error.rcvd_then_sent, str(error) if text else ""]
        return found, websocket.close_code, websocket.close_reason if text else "", websocket.state


def _has(lib: Any, name: str) -> object:
    with both(lib, echo) as websocket:
        return hasattr(websocket, name)


def _server_has(lib: Any, name: str) -> object:
    with serving(lib, echo) as server:
        return hasattr(server, name)


def _bad_code(lib: Any, code: int) -> object:
    with both(lib, echo) as websocket:
        return attempt(lambda: websocket.close(code)), websocket.state


def _good_code(lib: Any, code: int) -> object:
    ended: list[object] = []

    def handler(websocket: Any) -> None:
        ended.append(attempt(websocket.recv))
        ended.append(websocket.close_code)

    with both(lib, handler) as websocket:
        websocket.close(code, "why")
        last = _exception(websocket.recv)
    return last, websocket.close_code, websocket.close_reason, websocket.state, ended


def _exception(action: Any) -> object:
    try:
        return action()
    except Exception as error:
        return error, str(error)


def _asked(lib: Any, question: Any) -> object:
    with both(lib, echo) as websocket:
        return question(websocket)


def _ended_by(lib: Any, handler: Any) -> object:
    with both(lib, handler) as websocket:
        found = []
        try:
            while True:
                found.append(websocket.recv(WAIT))
        except Exception as error:
            return found, error, str(error), websocket.close_code, websocket.close_reason


def _raise(error: Exception) -> None:
    raise error


def _closes(code: int, reason: str) -> Any:
    return lambda websocket: websocket.close(code, reason)


HANDLERS = {
    "returns": lambda websocket: None,
    "raises": lambda websocket: _raise(ValueError("no")),
    "closes 1000": _closes(1000, ""),
    "closes 1001 with reason": _closes(1001, "later"),
    "closes 4000": _closes(4000, "why"),
    "sends and returns": lambda websocket: websocket.send("last"),
    "raises SystemExit": lambda websocket: _raise(SystemExit()),  # type: ignore[arg-type]
    "cuts the connection": lambda websocket: (websocket.ping().wait(WAIT), websocket.socket.shutdown(2)),
    "closes twice": lambda websocket: (websocket.close(4001), websocket.close(4002)),
}


def _silent(lib: Any) -> object:
    with fed(lib, b"", ping_interval=0.1, ping_timeout=0.1) as websocket:
        return _exception(lambda: websocket.recv(WAIT))


def _same_ping(lib: Any) -> object:
    with fed(lib, b"", ping_interval=None) as websocket:
        first = [websocket.ping(payload) and "sent" for payload in ("a", b"b", b"")]
        return first, [attempt(lambda it=it: websocket.ping(it)) for it in ("a", b"b", b"")]


def _many_pings(lib: Any) -> object:
    with fed(lib, b"", ping_interval=None) as websocket:
        return attempt(lambda: [websocket.ping() for _ in range(17)] and "sent")


def _stalled(lib: Any) -> object:
    """What `send` has to say after 8 s, more than twice as long as ours waits."""
    with fed(lib, b"", ping_interval=None) as websocket:
        answers: list[object] = []
        message = b"x" * (1 << 20)
        thread = threading.Thread(
            target=lambda: answers.append(attempt(lambda: [websocket.send(message) for _ in range(50)])),
            daemon=True,
        )
        thread.start()
        thread.join(8)
        return answers or "still waits"


def _two_fragments(lib: Any) -> object:
    with fed(lib, b"\x01\x01a\x80\x01b") as websocket:
        return list(websocket.recv_streaming())


def _streams(websocket: Any) -> object:
    answers = []
    for message, decode in (("xy", None), (b"", None), ("z", False), (b"w", True)):
        websocket.send(message)
        answers.append(list(websocket.recv_streaming(decode)))
    return answers


def _half_streamed(websocket: Any) -> object:
    websocket.send("a")
    pieces = websocket.recv_streaming()
    first = next(pieces)
    websocket.send("b")
    return first, attempt(lambda: websocket.recv(1)), list(pieces), websocket.recv(WAIT)


def _two_receive(websocket: Any) -> object:
    answers: list[object] = []
    inside = threading.Event()

    def receive() -> None:
        inside.set()
        answers.append(attempt(websocket.recv))

    thread = threading.Thread(target=receive)
    thread.start()
    inside.wait(WAIT)
    while not answers:
        second = attempt(lambda: websocket.recv(0))
        if second != "raises TimeoutError":  # the other one had not begun
            break
    third = attempt(lambda: next(websocket.recv_streaming()))
    websocket.close()
    thread.join(WAIT)
    return second, third, answers


def _messages_then_own_close(websocket: Any) -> object:
    for word in ("a", "b"):
        websocket.send(word)
    first = websocket.recv(WAIT)
    websocket.ping().wait(WAIT)
    websocket.close()
    return first, attempt(websocket.recv), attempt(websocket.recv)


def _broken_generator(websocket: Any) -> object:
    def pieces() -> Any:
        yield "a"
        raise ZeroDivisionError

    return (
        attempt(lambda: websocket.send(pieces())),
        attempt(websocket.recv),
        attempt(lambda: websocket.send("x")),
    )


def _mixed(websocket: Any) -> object:
    return attempt(lambda: websocket.send(["a", b"b"])), attempt(websocket.recv)


def _sends_within(websocket: Any) -> object:
    inner: list[object] = []

    def pieces() -> Any:
        yield "a"
        inner.append(attempt(lambda: websocket.send("x")))
        yield "b"

    websocket.send(pieces())
    return inner, websocket.recv(WAIT)


def _closed_twice(websocket: Any) -> object:
    return (
        websocket.close(4000, "a"),
        websocket.close(4001, "b"),
        websocket.close_code,
        websocket.close_reason,
    )


def _ping_answer(websocket: Any) -> object:
    return websocket.latency, websocket.ping().wait(WAIT), websocket.latency > 0


def _after_close(action: Any) -> Any:
    def ask(websocket: Any) -> object:
        websocket.close(1000, "done")
        return _exception(lambda: action(websocket))

    return ask


def _exit_with_error(websocket: Any) -> object:
    try:
        with websocket:
            raise KeyError
    except KeyError:
        return _exception(websocket.recv)


QUESTIONS = {
    "recv: 0 s": lambda w: attempt(lambda: w.recv(0)),
    "recv: below 0 s": lambda w: attempt(lambda: w.recv(-1)),
    "recv: timeout by name": lambda w: attempt(lambda: w.recv(timeout=0.01)),
    "recv: decode text to bytes": lambda w: (w.send("é"), w.recv(WAIT, False))[1],
    "recv: decode bytes to text": lambda w: (w.send("é".encode()), w.recv(WAIT, decode=True))[1],
    "recv: decode bad UTF-8": lambda w: (w.send(b"\xff"), _exception(lambda: w.recv(WAIT, True)))[1],
    "send: bad UTF-8 as text": lambda w: (w.send(b"\xff", text=True), attempt(lambda: w.recv(WAIT)))[1],
    "send: nothing at all": lambda w: (w.send([]), attempt(lambda: w.recv(0.05)))[1],
    "send: a generator": lambda w: (w.send(str(n) for n in range(5)), w.recv(WAIT))[1],
    "send: a generator that fails": _broken_generator,
    "send: mixed pieces": _mixed,
    "send: within a message in fragments": _sends_within,
    "recv_streaming": _streams,
    "recv_streaming: half": _half_streamed,
    "two threads receive": _two_receive,
    "recv after one's own close": _messages_then_own_close,
    "close: twice": _closed_twice,
    "close: reason of 123 bytes": lambda w: (w.close(1000, "x" * 123), w.close_reason)[1],
    "close: reason of 124 bytes": lambda w: (attempt(lambda: w.close(1000, "x" * 124)), w.state),
    "close: returns": lambda w: w.close(),
    "close_code while open": lambda w: (w.close_code, w.close_reason),
    "state while open": lambda w: (w.state, w.state.name),
    "state after close": lambda w: (w.close(), w.state.name)[1],
    "ping": _ping_answer,
    "ping: payload": lambda w: w.ping("abc").wait(WAIT),
    "ping: bytes": lambda w: w.ping(b"abc").wait(WAIT),
    "ping: empty": lambda w: w.ping(b"").wait(WAIT),
    "ping: bytearray": lambda w: w.ping(bytearray(b"q")).wait(WAIT),
    "ping: number": lambda w: w.ping(3),
    "ping: list": lambda w: w.ping([]),
    "ping: 126 bytes": lambda w: w.ping(b"x" * 126),
    "ping: 125 bytes": lambda w: w.ping(b"x" * 125).wait(WAIT),
    "ping: ack_on_close": lambda w: (w.ping(ack_on_close=True), w.close())[0].wait(WAIT),
    "ping: the same payload later": lambda w: [w.ping("a").wait(WAIT) for _ in range(2)],
    "pong: nothing": lambda w: w.pong(),
    "pong: text": lambda w: w.pong("x"),
    "pong: 126 bytes": lambda w: w.pong(b"x" * 126),
    "pong: number": lambda w: w.pong(3),
    "after close: send": _after_close(lambda w: w.send("x")),
    "after close: recv": _after_close(lambda w: w.recv()),
    "after close: ping": _after_close(lambda w: w.ping()),
    "after close: pong": _after_close(lambda w: w.pong()),
    "after close: iteration": _after_close(list),
    "after close: recv_streaming": _after_close(lambda w: list(w.recv_streaming())),
    "after close: wait_closed": _after_close(lambda w: w.wait_closed()),
    "after close: close": _after_close(lambda w: w.close(4000)),
    "after close: enter": _after_close(lambda w: w.__enter__() is w),
    "wait_closed: in time": lambda w: w.wait_closed(0.01),
    "exit with an error": _exit_with_error,
    "id": lambda w: (w.id, len(str(w.id))),
    "addresses": lambda w: (w.local_address[0], w.remote_address[0]),
    "subprotocol": lambda w: w.subprotocol,
    "protocol.state": lambda w: (w.protocol.state.name, w.protocol.side.name),
    "protocol.close_exc while open": lambda w: w.protocol.close_exc,
    "protocol.close_code": lambda w: (w.protocol.close_code, w.close(4000, "x"), w.protocol.close_code),
    "protocol.close_exc": lambda w: (w.close(), _exception(lambda: _raise(w.protocol.close_exc)))[1],
    "protocol.id is id": lambda w: w.protocol.id == w.id,
    "logger": lambda w: w.logger.isEnabledFor(40),
    "hash": lambda w: len({w, w}),
    "request": lambda w: (w.request.path, w.request.method, w.request.protocol),
    "response": lambda w: (w.response.status_code, w.response.reason_phrase, w.response.body),
    "request headers": lambda w: sorted(w.request.headers),
    "response headers": lambda w: sorted(w.response.headers),
    "socket.getpeername": lambda w: w.socket.getpeername() == w.remote_address,
    "iteration is an iterator": lambda w: iter(w) is not None,
}
