"""A WSGI application of no framework with the chat in it; says what its server tells of itself."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from time import sleep
from typing import Any
from urllib.parse import parse_qs
from wsgiref.types import StartResponse

from threadchat import Chat, Config, SessionInfo

logging.basicConfig(level=logging.INFO)
chat = Chat(Config(broker="memory", event_log=os.environ.get("EVENT_LOG", "")))


_before_fork: list[str] = []  # the names of the threads there were


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


os.register_at_fork(before=lambda: _before_fork.extend(threads()))


def inner(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/publish":
        wanted = parse_qs(environ["QUERY_STRING"])
        body = str(chat.publish(wanted["room"][0], wanted["message"][0]).offset)
    elif path == "/slow":
        gate = Path(os.environ["GATE"])
        gate.with_suffix(".reached").touch()
        while not gate.exists():
            sleep(0.02)
        body = "slow, but here"
    elif path == "/readers":
        body = str(sum(name.startswith("reader-") for name in threads()))
    elif path == "/threads":
        body = " ".join([*_before_fork, "|", *threads()])
    elif path == "/pid":
        body = str(os.getpid())
    else:
        body = environ.get("HTTP_X_CONNECTIONS", "hello")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body.encode()]


@chat.on_disconnect
def note(info: SessionInfo, code: int, reason: str) -> None:
    logging.info("%s left with %d", info.user.nickname, code)


app = chat.mount(inner, page=True)

if __name__ == "__main__":
    import sys

    port = int(os.environ["PORT"])
    match sys.argv[1]:
        case "waitress":
            from waitress import serve

            serve(app, host="127.0.0.1", port=port)
        case "waitress-beside":
            from waitress import serve

            chat.listen(int(sys.argv[2]))
            serve(app, host="127.0.0.1", port=port)
        case "werkzeug":
            from werkzeug.serving import run_simple

            run_simple("127.0.0.1", port, app, threaded=sys.argv[2] == "threaded")
        case "wsgiref":
            from wsgiref.simple_server import make_server

            make_server("127.0.0.1", port, app).serve_forever()
