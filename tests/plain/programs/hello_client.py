"""A program for websockets.sync's client: introduces itself."""

import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def hello():
    with connect(sys.argv[1]) as websocket:
        websocket.send(sys.argv[2])
        print(websocket.recv(timeout=20))
        try:
            websocket.recv(timeout=0.01)
        except TimeoutError:
            print("nothing more")
        pong = websocket.ping()
        print("pong", pong.wait(20))
    try:
        websocket.recv()
    except ConnectionClosed as error:
        print(error.rcvd.code)


if __name__ == "__main__":
    hello()
