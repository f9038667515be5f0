"""A program written for Flask-SocketIO, ported: what was there stands beside what is here.

python scripts/examples/from_socketio.py                 and then http://127.0.0.1:5000/login/ann

The page is `pages/from_socketio.html` and `.js`.

| there | here |
|---|---|
| `socketio = SocketIO(app)` | `chat = Chat(...)`, `app.wsgi_app = chat.mount(app.wsgi_app)` |
| `socketio.run(app)`, with eventlet or gevent | any threaded WSGI server: Werkzeug, gunicorn with gthread |
| `message_queue="redis://…"` | `Config(broker="redis://…")`; then several processes need no sticky sessions |
| a namespace, `/admin` | a room, `admin`; or a second Chat, mounted at another path |
| `@socketio.on("connect")`, `return False` | `authenticate`, or `on_connect` and `raise Refuse(...)` |
| `@socketio.on("disconnect")` | `on_disconnect` |
| `@socketio.on("my event")`, an ack | `@chat.command("my.event")`, what it returns is the reply |
| data checked by hand | the second parameter's annotation: decoded, or refused with the field's name |
| `request.sid`, `flask.session`, `current_user` | `caller.session`, `caller.state`, `caller.user` |
| `flask.request.cookies` in a handler | `caller.environ["HTTP_COOKIE"]` |
| `emit("x", data)`, to the sender | `caller.emit("x", data)` |
| `emit("x", data, broadcast=True)` | `chat.emit("all", "x", data)`, a room that each client subscribes to |
| `emit("x", data, to=room, skip_sid=sid)` | `chat.emit(room, "x", data, skip=session)` |
| `emit("x", data, to=user_room)` | `chat.emit(user=user_id, name="x", data=data)`; it waits for the absent |
| `join_room(room)`, `leave_room(room)` | `caller.join(room)` or `subscribe`, `caller.leave(room)` |
| a table of one's own for who is there | `chat.in_room(room)`, `sessions(user)`, `connected(user)` |
| `SocketIO(message_queue=…).emit` in a Celery task | `Publisher("redis://…").emit`, or `POST /api/emit` |
| `socketio.start_background_task`, `socketio.sleep` | `threading.Thread`, `time.sleep` |
| a client that was away misses what was emitted | rooms and inboxes have a log: it gets what it missed |
| in the page: `io()` | `connect("/live")` of `/live/threadchat.js`, which the server has |
| `socket.on("connect", f)`, `socket.on("said", f)` | `chat.on("hello", f)`, `chat.room(room).on("said", f)` |
| `socket.emit("say", data, ack)` | `await chat.call("say", data)`, which rejects where it is refused |
| `socketio.test_client(app)` | `threadchat.testing.InMemory(app)`: its peers `call`, and await an `event` |
"""

from __future__ import annotations

import os
from typing import TypedDict

from flask import Flask, redirect, session
from werkzeug.wrappers import Response

from threadchat import Caller, Chat, Config, Refuse

app = Flask(__name__, static_folder="pages")
app.secret_key = os.environ.get("SECRET_KEY", "not a secret")
chat = Chat(Config())
app.wsgi_app = chat.mount(app.wsgi_app, path="/live")


@app.get("/login/<name>")
def login(name: str) -> Response:
    """Stands for your login."""
    session["user"] = name
    return redirect("/")


@app.get("/")
def page() -> Response:
    return app.send_static_file("from_socketio.html")


@chat.authenticate
def who(environ: dict[str, object]) -> object:
    """There: `if not current_user.is_authenticated: return False` in the handler of `connect`."""
    with app.request_context(environ):
        return session.get("user")


class Said(TypedDict):
    """There: `data["room"]`, a KeyError where a client forgot it."""

    room: str
    text: str


@chat.command("enter")
def enter(caller: Caller, room: str) -> list[object]:
    """There: `join_room(room); emit("status", …, to=room)`, and the return value is the ack."""
    caller.subscribe(room)
    rooms: list[object] = caller.state.setdefault("rooms", [])
    if room not in rooms:
        rooms.append(room)
        chat.emit(room, "status", {"text": f"{caller.user.id} is here"}, skip=caller.session)
    return rooms


@chat.command("say")
def say(caller: Caller, said: Said) -> int:
    """There: `emit("said", …, to=room)`. Here it has a place in the room's log, which is the answer."""
    if said["room"] not in caller.state.get("rooms", ()):
        raise Refuse("enter the room first")
    place = chat.emit(said["room"], "said", {"by": caller.user.id, "text": said["text"]})
    assert place is not None, "the room is open"
    return place.offset


@app.post("/warn/<user>")
def warn(user: str) -> str:
    """There: `socketio.emit("warning", …, to=sids[user])`, with a table of `sids` that one keeps oneself."""
    chat.emit(user=user, name="warning", data={"text": "be nice"})
    return "told, or kept until they come\n"


@app.after_request
def strict(response: Response) -> Response:
    """There: `cors_allowed_origins`, and a script from somebody else's host."""
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return response


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "5000")))
