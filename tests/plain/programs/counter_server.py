"""A program for websockets.sync: a counter that all who are connected share."""

import json
import signal
import sys
import threading

from websockets.exceptions import ConnectionClosedOK
from websockets.sync.server import broadcast, serve

USERS = set()
VALUE = 0
LOCK = threading.Lock()


def health_check(connection, request):
    if request.path == "/healthz":
        return connection.respond(200, "OK\n")
    return None


def tell_users():
    broadcast(USERS, json.dumps({"type": "users", "count": len(USERS)}))


def counter(websocket):
    global VALUE  # noqa: PLW0603
    try:
        with LOCK:
            USERS.add(websocket)
            tell_users()
        websocket.send(json.dumps({"type": "value", "value": VALUE}))
        for message in websocket:
            with LOCK:
                VALUE += {"plus": 1, "minus": -1}[json.loads(message)["action"]]
                broadcast(USERS, json.dumps({"type": "value", "value": VALUE}))
    finally:
        with LOCK:
            USERS.remove(websocket)
            tell_users()


def greet(websocket):
    try:
        name = websocket.recv(timeout=20)
        websocket.send(f"Hello {name}!")
        websocket.recv()
    except ConnectionClosedOK:
        print("they left", flush=True)


def route(websocket):
    if websocket.request.path == "/greet":
        greet(websocket)
    else:
        counter(websocket)


def main():
    with serve(route, "localhost", int(sys.argv[1]), process_request=health_check) as server:
        signal.signal(signal.SIGTERM, lambda number, frame: threading.Thread(target=server.shutdown).start())
        server.serve_forever()


if __name__ == "__main__":
    main()
