"""Flask-SocketIO as its users write it, and one line more."""

from flask import Flask
from flask_socketio import SocketIO, emit, join_room

from threadchat.plain.socketio import use_threadchat

app = Flask(__name__)
socketio = SocketIO(app, async_mode="threading", cors_allowed_origins="*")
use_threadchat(socketio, app)


@app.get("/")
def page():
    return "page"


@socketio.on("connect")
def connected():
    emit("hello", {"who": "server"})


@socketio.on("say")
def say(text):
    emit("said", text.upper())
    return f"got {text}"


@socketio.on("bytes")
def data(blob):
    emit("bytes", blob + b"!")


@socketio.on("join")
def join(room):
    join_room(room)
    emit("in", room, to=room)


if __name__ == "__main__":
    import sys

    socketio.run(app, port=int(sys.argv[1]), allow_unsafe_werkzeug=True)
