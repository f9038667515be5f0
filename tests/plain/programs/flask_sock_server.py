"""A program for flask-sock, as its documentation shows them."""

import sys
import threading

from flask import Flask
from flask_sock import Sock

app = Flask(__name__)
app.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": 25}
sock = Sock(app)


@sock.route("/echo")
def echo(ws):
    while True:
        data = ws.receive()
        if data == "bye":
            ws.close(4000, "as you like")
        if data == "clock":
            threading.Thread(target=tell, args=(ws,)).start()
        else:
            ws.send(data)


@sock.route("/hello/<name>")
def hello(ws, name):
    ws.send(f"hello {name}")


@sock.route("/broken")
def broken(ws):
    ws.receive()
    raise ValueError("not today")


def tell(ws):
    for tick in range(3):
        ws.send(f"tick {tick}")


@app.route("/")
def index():
    return "still here"


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]))
