"""Probes of a server with open connections: shutdown, broadcast, routes and limits."""

from __future__ import annotations

import threading
from typing import Any

from parity_probes.peers import (
    LOOPBACK,
    WAIT,
    both,
    connected,
    echo,
    hold,
    serving,
    url,
)
from parity_probes.probing import Table, attempt
from parity_probes.websockets_connecting import connects


def fill(table: Table) -> None:
    """Adds the probes."""
    for name, ask in ASKED.items():
        table.add(name, ask)


def _shutdown(lib: Any, **how: Any) -> object:
    opened = threading.Event()

    def handler(websocket: Any) -> None:
        opened.set()
        hold(websocket)

    with serving(lib, handler) as server:
        websocket = connected(lib, url(server))
        opened.wait(WAIT)
        before = len(server.connections)
        server.shutdown(**how)
        try:
            websocket.recv(WAIT)
        except Exception as error:
            return (
                before,
                error,
                str(error),
                len(server.connections),
                attempt(lambda: connected(lib, url(server))),
            )
    return "nothing"


def _shutdown_leaves(lib: Any) -> object:
    ended: list[object] = []
    opened = threading.Event()

    def handler(websocket: Any) -> None:
        opened.set()
        ended.extend(websocket)

    with lib.sync_server.serve(handler, LOOPBACK, 0) as server:
        forever = threading.Thread(target=server.serve_forever, daemon=True)
        forever.start()
        websocket = connected(lib, url(server))
        opened.wait(WAIT)
        ending = threading.Thread(target=lambda: server.shutdown(close_connections=False), daemon=True)
        ending.start()
        forever.join(1)
        websocket.send("still here")
        websocket.close()
        ending.join(WAIT)
    return ended, websocket.close_code, ending.is_alive()


def _broadcast(lib: Any, message: Any, **options: Any) -> object:
    opened: list[Any] = []
    there = threading.Semaphore(0)

    def handler(websocket: Any) -> None:
        opened.append(websocket)
        there.release()
        hold(websocket)

    with serving(lib, handler) as server, connected(lib, url(server)) as a, connected(lib, url(server)) as b:
        there.acquire(timeout=WAIT)
        there.acquire(timeout=WAIT)
        result = attempt(lambda: lib.sync_server.broadcast(opened, message, **options))
        if str(result).startswith("raises"):
            return result
        return result, a.recv(WAIT), b.recv(WAIT)


def _broadcast_to_closed(lib: Any) -> object:
    with both(lib, echo) as websocket:
        websocket.close()
        return lib.sync_server.broadcast([websocket], "x", raise_exceptions=True)


def _broadcast_in_fragments(lib: Any) -> object:
    with both(lib, echo) as websocket:
        found: list[object] = []

        def pieces() -> Any:
            yield "a"
            found.append(attempt(lambda: lib.sync_server.broadcast([websocket], "x")))
            found.append(attempt(lambda: lib.sync_server.broadcast([websocket], "x", raise_exceptions=True)))
            yield "b"

        websocket.send(pieces())
        return found, websocket.recv(WAIT)


def _fragments_on_the_wire(lib: Any) -> object:
    """Each piece has left before the next one is made."""
    with both(lib, echo, compression=None, client={"compression": None}) as websocket:
        seen: list[bool] = []

        def pieces() -> Any:
            for piece in ("a", "b"):
                yield piece
                # The pong comes behind whatever the server has read before it.
                seen.append(websocket.ping().wait(WAIT))

        websocket.send(pieces())
        return seen, websocket.recv(WAIT)


def _routed(lib: Any, path: str) -> object:
    from werkzeug.routing import Map, Rule

    def greet(websocket: Any, name: str) -> None:
        websocket.send(f"hello {name}")

    table = Map([Rule("/greet/<name>", endpoint=greet), Rule("/old", redirect_to="greet/ann")])
    with lib.sync_router.route(table, LOOPBACK, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        answer = connects(lib, url(server, path), ask=lambda w: w.recv(WAIT))
        server.shutdown()
        thread.join(WAIT)
    return answer


def _limit(lib: Any, size: Any, message: Any) -> object:
    with both(lib, echo, max_size=size) as websocket:
        websocket.send(message)
        try:
            return len(websocket.recv(WAIT))
        except Exception as error:
            return error, error.rcvd.code


def _keyboard(lib: Any) -> object:
    """Iterating over a connection that its server closes well."""
    with both(lib, lambda w: [w.send(word) for word in ("a", "b")]) as websocket:
        return list(websocket)


def _twice(lib: Any) -> object:
    with serving(lib, hold) as server:
        return attempt(server.shutdown), attempt(server.shutdown)


def _queue(lib: Any, max_queue: Any) -> object:
    with both(lib, echo, client={"max_queue": max_queue}) as websocket:
        for number in range(40):
            websocket.send(str(number))
        return [websocket.recv(WAIT) for _ in range(40)]


ASKED = {
    "serve: unknown option": lambda lib: lib.sync_server.serve(hold, LOOPBACK, 0, no_such_option=1),
    "serve: subprotocols as text": lambda lib: lib.sync_server.serve(hold, LOOPBACK, 0, subprotocols="chat"),
    "shutdown": _shutdown,
    "shutdown with a code": lambda lib: _shutdown(lib, code=1012, reason="again"),
    "shutdown leaves connections": _shutdown_leaves,
    "shutdown twice": lambda lib: _twice(lib),
    "broadcast: text": lambda lib: _broadcast(lib, "hi"),
    "broadcast: bytes": lambda lib: _broadcast(lib, b"hi"),
    "broadcast: bytes as text": lambda lib: _broadcast(lib, b"hi", text=True),
    "broadcast: text as bytes": lambda lib: _broadcast(lib, "hi", text=False),
    "broadcast: raise_exceptions": lambda lib: _broadcast(lib, "hi", raise_exceptions=True),
    "broadcast: number": lambda lib: _broadcast(lib, 3),
    "broadcast: list": lambda lib: _broadcast(lib, ["a"]),
    "broadcast: nobody": lambda lib: lib.sync_server.broadcast([], "x"),
    "broadcast: to a closed one": _broadcast_to_closed,
    "broadcast: amid fragments": _broadcast_in_fragments,
    "broadcast: max_workers": lambda lib: _broadcast(lib, "hi", max_workers=2),
    "send: pieces leave one by one": _fragments_on_the_wire,
    "route: found": lambda lib: _routed(lib, "/greet/ann"),
    "route: not found": lambda lib: _routed(lib, "/none"),
    "route: redirect": lambda lib: _routed(lib, "/old"),
    "max_size: below": lambda lib: _limit(lib, 10, "x" * 10),
    "max_size: above": lambda lib: _limit(lib, 10, "x" * 11),
    "max_size: of two": lambda lib: _limit(lib, (10, None), "x" * 11),
    "max_size: none": lambda lib: _limit(lib, None, "x" * (2 << 20)),
    "max_size: of a fragment": lambda lib: _limit(lib, (100, 10), "x" * 11),
    "max_queue: none": lambda lib: _queue(lib, None),
    "max_queue: two": lambda lib: _queue(lib, (4, 1)),
    "iteration ends well": _keyboard,
}
