"""A program for simple-websocket's client: sends what is piped in, prints what comes back."""

import sys

import simple_websocket


def main():
    ws = simple_websocket.Client(sys.argv[1], subprotocols=["chat"], headers={"X-Who": "me"})
    print("subprotocol", ws.subprotocol)
    try:
        while True:
            ws.send(input())
            print("<", ws.receive())
    except EOFError:
        ws.close()
    except simple_websocket.ConnectionClosed as closed:
        print("closed:", int(closed.reason), closed.message)


if __name__ == "__main__":
    main()
