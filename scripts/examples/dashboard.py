"""A dashboard in Flask: live orders, a job's progress, notices, and commands, on a page of its own.

python scripts/examples/dashboard.py                     and then http://127.0.0.1:5000/?as=ann
THREADCHAT_BROKER=redis://127.0.0.1:6379/0 ...           with any number of processes; jobs may run elsewhere

The page is `pages/dashboard.html` and `.js`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4, uuid5

from flask import Flask, redirect, request, session
from werkzeug.wrappers import Response

from threadchat import Caller, Chat, Config, Publisher, Refuse, User

BROKER = os.environ.get("THREADCHAT_BROKER", "memory")
DATABASE = os.environ.get("DATABASE", "orders.db")
PEOPLE = UUID("3f2b7c1e-55d0-4c8e-9d3a-0a6d1f2b7c1e")  # stands for a table with UUIDs as primary keys

app = Flask(__name__, static_folder="pages")
app.secret_key = os.environ.get("SECRET_KEY", "not a secret")
chat = Chat(Config(broker=BROKER), anonymous=False)
app.wsgi_app = chat.mount(app.wsgi_app, path="/live")


@contextmanager
def transaction() -> Iterator[sqlite3.Connection]:
    """One transaction, which blocks its thread: with psycopg, `with pool.connection() as connection`."""
    with closing(sqlite3.connect(DATABASE, timeout=10)) as connection, connection:
        yield connection


@chat.authenticate
def who(environ: dict[str, object]) -> object:
    """Who is logged in: the id is a UUID, as it is in the table."""
    with app.request_context(environ):
        return session.get("user")


@chat.authorize
def may(user: User, action: str, about: object) -> bool:
    """Everybody may call, and watch the orders, and a job whose UUID they know; nobody is here to chat."""
    watched = about == "orders" or str(about).startswith("job-")
    return action == "call" or (action == "subscribe" and watched)


@dataclass
class Cancel:
    """What `order.cancel` takes; whatever else comes is refused with the field's name."""

    id: UUID


@chat.command("order.cancel")
def cancel(caller: Caller, data: Cancel) -> dict[str, int]:
    """Cancels an order of one's own; all who watch see it. It runs on the caller's thread and may block."""
    user = caller.user.id
    with transaction() as connection:
        found = connection.execute("DELETE FROM orders WHERE id = ? AND user = ?", (str(data.id), user))
        if not found.rowcount:
            raise Refuse("that is no order of yours")
        [left] = connection.execute("SELECT count(*) FROM orders WHERE user = ?", (user,)).fetchone()
    chat.emit("orders", "order.cancelled", {"id": str(data.id)})  # once it is committed, and not before
    return {"left": left}


@chat.command("export")
def export(caller: Caller) -> dict[str, str]:
    """Starts a job, and has this tab watch it from its beginning."""
    job = f"job-{uuid4()}"
    caller.subscribe(job)
    threading.Thread(target=run_export, args=(job, caller.user.id), daemon=True).start()  # Celery: .delay(…)
    return {"job": job}


# What a worker of Celery's has in place of the chat: a Publisher, with the same `emit`.
out = Publisher(BROKER) if BROKER.startswith("redis") else chat


def run_export(job: str, user: str) -> None:
    """Stands for a task of Celery's."""
    for done in range(0, 101, 5):
        out.emit(job, "progress", {"done": done}, keep=False)  # only the newest is of any use
        time.sleep(0.05)
    out.emit(job, "finished", {"file": f"{job}.csv"})
    out.emit(user=user, name="notice", data={"text": f"{job}.csv is ready"})  # on all tabs, or later


@app.get("/orders")
def every_order() -> list[dict[str, object]]:
    """What a page shows at first."""
    with transaction() as connection:
        rows = connection.execute("SELECT id, user, what FROM orders ORDER BY rowid")
        return [dict(zip(("id", "user", "what"), row, strict=True)) for row in rows]


@app.post("/orders")
def order() -> tuple[dict[str, object], int]:
    """An ordinary view, which writes a row and tells of it."""
    user = session.get("user")
    if user is None:
        return {"error": "log in first"}, 401
    made = {"id": str(uuid4()), "user": user["id"], "what": request.form["what"]}
    with transaction() as connection:
        connection.execute("INSERT INTO orders VALUES (:id, :user, :what)", made)
    chat.emit("orders", "order.created", made, key=f"order-{made['id']}")
    return made, 201


@app.get("/")
def page() -> Response:
    """The page; who one is stands for a login."""
    if name := request.args.get("as"):
        session["user"] = {"id": str(uuid5(PEOPLE, name)), "nickname": name}
        return redirect("/")
    return app.send_static_file("dashboard.html") if "user" in session else redirect("/?as=ann")


@app.after_request
def strict(response: Response) -> Response:
    """The page's policy: scripts are files of this server, and the socket is this server's."""
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return response


with transaction() as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, user TEXT, what TEXT)")

if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "5000")))
