"""Says over a WebSocket what it finds in its request's context, and logs when that ends."""

import threading

from flask import Flask, g, request, session
from flask_sock import Sock

app = Flask(__name__)
app.secret_key = "not so secret"
sock = Sock(app)


@app.before_request
def remember():
    g.user = request.args.get("user", "nobody")
    session["seen"] = True
    if g.user == "banned":
        return "not you", 403
    return None


@app.teardown_request
def forget(error):
    if request.path.startswith("/ws"):
        print(f"torn down: {g.user} {type(error).__name__} {threading.current_thread().name}", flush=True)


@app.get("/")
def page():
    return "page"


@sock.route("/ws/<int:number>")
def echo(ws, number):
    ws.send(f"{g.user} {number} {session['seen']} {request.path} {threading.current_thread().name}")
    while True:
        ws.send(ws.receive())


if __name__ == "__main__":
    import sys

    app.run(port=int(sys.argv[1]))
