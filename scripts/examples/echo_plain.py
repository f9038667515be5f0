"""An echo server without any chat: `serve` has the shape that websockets.sync has.

python scripts/examples/echo_plain.py [PORT]      then connect to ws://127.0.0.1:8765

Texts and bytes come back as they came, up to 64 MiB each, so that a conformance suite can be run against it.
"""

from __future__ import annotations

import signal
import sys

from threadchat import ConnectionClosed, ServerConnection, serve

LARGEST = 64 << 20  # bytes


def echo(websocket: ServerConnection) -> None:
    """Runs on a thread of its own for each connection; its end is the connection's."""
    try:
        for message in websocket:
            websocket.send(message)
    except ConnectionClosed as closed:
        print(f"{websocket.remote_address[0]}: {closed}", flush=True)


def main(port: int) -> None:
    with serve(echo, "127.0.0.1", port, max_size=LARGEST) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: server.shutdown())
        print(f"echoing at ws://127.0.0.1:{server.port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8765)
