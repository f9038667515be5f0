"""A program for simple-websocket, as its documentation shows them: a Flask view that echoes."""

import sys

import simple_websocket
from flask import Flask, request

app = Flask(__name__)


@app.route("/echo", websocket=True)
def echo():
    ws = simple_websocket.Server(request.environ, subprotocols=["chat"], ping_interval=25)
    try:
        while True:
            data = ws.receive()
            if data == "bye":
                ws.close(4000, "as you like")
            ws.send(data)
    except simple_websocket.ConnectionClosed as closed:
        print(f"closed: {int(closed.reason)} {closed.message}", flush=True)
    return ""


@app.route("/polled", websocket=True)
def polled():
    ws = simple_websocket.Server.accept(request.environ)
    try:
        while ws.connected:
            if (data := ws.receive(timeout=0)) is None:
                data = ws.receive(timeout=0.01)
            if data is not None:
                ws.send(f"{data} {ws.subprotocol}")
                ws.close()
    except simple_websocket.ConnectionClosed:
        pass
    return ""


@app.route("/")
def index():
    return "still here"


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]))
