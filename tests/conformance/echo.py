"""The example's echo server as a conformance suite needs it: python echo.py PORT.

With compression, which only those cases ask for that are about it.
Without pings of its own: they are allowed at any time (RFC 6455 5.5.2), but the suite takes every frame
that no case asks for as a mistake.
"""

from __future__ import annotations

import signal
import sys

from echo_plain import LARGEST, echo

from threadchat import serve


def main(port: int) -> None:
    with serve(
        echo, "127.0.0.1", port, max_size=LARGEST, ping_interval=None, compression="deflate"
    ) as server:
        signal.signal(signal.SIGTERM, lambda number, frame: server.shutdown())
        server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
