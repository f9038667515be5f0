"""A Flask shop with a login and the chat in it: who is logged in there is known here.

python scripts/examples/flask_app.py
gunicorn --chdir scripts/examples -c scripts/examples/gunicorn_conf.py flask_app:app
"""

from __future__ import annotations

import os

from flask import Flask, redirect, request, session
from werkzeug.wrappers import Response

from threadchat import Chat, Config, Refuse, User

ACCOUNTS = {"ann": 1, "bob": 2}  # name and id; stands for your table, and for passwords
STAFF = {1}

app = Flask(__name__)
app.secret_key = os.environ.get("SECRET_KEY", "not a secret")
chat = Chat(Config(), anonymous=False)
app.wsgi_app = chat.mount(app.wsgi_app, path="/chat", page=True)


@chat.authenticate
def who(environ: dict[str, object]) -> object:
    """The login of Flask counts: the browser sends its cookie with the WebSocket's request, too."""
    with app.request_context(environ):
        return session.get("user")


@chat.authorize
def may(user: User, action: str, room: str | int) -> bool:
    """The room of the staff is for the staff."""
    return user.id in STAFF or room != "staff"


@chat.moderates
def may_moderate(user: User, room: str) -> bool:
    """The staff may kick, ban, mute and delete, in any room."""
    return user.id in STAFF


@chat.on_message
def moderate(user: User, room: str, text: str) -> str:
    """May block: on a database, on a filter somewhere else. Nobody but this sender waits for it."""
    if "http://" in text:
        raise Refuse("no links here, please")
    return text


@app.post("/login")
def login() -> Response | tuple[str, int]:
    """Notes in Flask's session who it is, in the shape that the chat understands."""
    name = request.form["name"]
    if name not in ACCOUNTS:
        return "no such account\n", 403
    session["user"] = {"id": ACCOUNTS[name], "nickname": name}
    return redirect("/chat/")


@app.post("/orders")
def order() -> tuple[str, int]:
    """An ordinary request that tells a room, and one person."""
    if "user" not in session:
        return "log in first\n", 401
    user = session["user"]
    position = chat.publish("staff", f"{user['nickname']} ordered {request.form['what']}", nickname="shop")
    chat.direct(user["id"], "your order is in", nickname="shop")  # now, or when they come back
    return f"order {position.offset}\n", 201


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "5000")))
