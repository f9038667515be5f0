"""A dashboard in Flask: live orders, a job's progress, notices, and a command, on a page of its own.

python scripts/examples/dashboard.py                     and then http://127.0.0.1:5000/?as=ann
THREADCHAT_BROKER=redis://127.0.0.1:6379/0 ...           with any number of processes; jobs may run elsewhere
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from itertools import count
from uuid import UUID, uuid5

from flask import Flask, redirect, request, session
from werkzeug.wrappers import Response

from threadchat import Caller, Chat, Config, Publisher, Refuse, User

BROKER = os.environ.get("THREADCHAT_BROKER", "memory")
PEOPLE = UUID("3f2b7c1e-55d0-4c8e-9d3a-0a6d1f2b7c1e")  # stands for a table with UUIDs as primary keys

app = Flask(__name__)
app.secret_key = os.environ.get("SECRET_KEY", "not a secret")
chat = Chat(Config(broker=BROKER), anonymous=False)
app.wsgi_app = chat.mount(app.wsgi_app, path="/live")

orders: dict[int, dict[str, object]] = {}
numbers = count(1)


@chat.authenticate
def who(environ: dict[str, object]) -> object:
    """Who is logged in: the id is a UUID, as it is in the table."""
    with app.request_context(environ):
        return session.get("user")


@chat.authorize
def may(user: User, action: str, about: object) -> bool:
    """Everybody may see the orders, and call; nobody is here to chat."""
    return action == "call" or (action in ("subscribe", "history") and about == "orders")


@dataclass
class Cancel:
    """What `order.cancel` takes; whatever else comes is refused with the field's name."""

    id: int


@chat.command("order.cancel")
def cancel(caller: Caller, data: Cancel) -> dict[str, int]:
    """Cancels an order of one's own; all who watch see it. It runs on the caller's thread and may block."""
    order = orders.get(data.id)
    if order is None or order["user"] != caller.user.id:
        raise Refuse("that is no order of yours")
    del orders[data.id]
    chat.emit("orders", "order.cancelled", {"id": data.id})
    return {"left": sum(each["user"] == caller.user.id for each in orders.values())}


@chat.command("export")
def export(caller: Caller) -> dict[str, str]:
    """Starts a job and lets this tab watch it."""
    job = f"job-{next(numbers)}"
    caller.subscribe(job)
    threading.Thread(target=run_export, args=(job, caller.user.id), daemon=True).start()
    return {"job": job}


def run_export(job: str, user: str) -> None:
    """Stands for a task of Celery's: that has no chat, but a Publisher with the same `emit`."""
    out = Publisher(BROKER) if BROKER.startswith("redis") else chat
    for done in range(0, 101, 10):
        out.emit(job, "progress", {"done": done}, keep=False)  # only the newest is of any use
        time.sleep(0.02)
    out.emit(job, "finished", {"file": f"{job}.csv"})
    out.emit(user=user, name="notice", data={"text": f"{job}.csv is ready"})  # on all tabs, or later


@app.post("/orders")
def order() -> Response | tuple[dict[str, object], int]:
    """An ordinary view, which writes a row and tells of it."""
    user = session.get("user")
    if user is None:
        return {"error": "log in first"}, 401
    made = {"id": next(numbers), "user": user["id"], "what": request.form["what"]}
    orders[int(str(made["id"]))] = made
    chat.emit("orders", "order.created", made, key=f"order-{made['id']}")
    return made, 201


@app.get("/")
def page() -> Response | str:
    """The page; who one is stands for a login."""
    if name := request.args.get("as"):
        session["user"] = {"id": str(uuid5(PEOPLE, name)), "nickname": name}
        return redirect("/")
    return PAGE if "user" in session else redirect("/?as=ann")


PAGE = """<!doctype html>
<meta charset="utf-8"><title>Orders</title>
<form id="form"><input name="what" value="tea"><button>order</button></form>
<button id="export">export</button> <output id="progress"></output> <output id="notice"></output>
<ul id="orders"></ul>
<script type="module">
import { connect } from "/live/threadchat.js";
const byId = (id) => document.getElementById(id);
const chat = connect("/live");
const orders = chat.room("orders");
orders.on("order.created", (order) => {
  const item = byId("orders").appendChild(document.createElement("li"));
  item.id = `order-${order.id}`;
  item.textContent = `${order.what} `;
  const button = item.appendChild(document.createElement("button"));
  button.textContent = "cancel";
  button.onclick = () => chat.call("order.cancel", { id: order.id }).catch((error) => alert(error.reason));
});
orders.on("order.cancelled", ({ id }) => byId(`order-${id}`)?.remove());
chat.inbox.on("notice", ({ text }) => { byId("notice").value = text; });
byId("export").onclick = async () => {
  const { job } = await chat.call("export");
  chat.room(job).on("progress", ({ done }) => { byId("progress").value = `${done} %`; });
};
byId("form").onsubmit = (event) => {
  event.preventDefault();
  fetch("/orders", { method: "POST", body: new FormData(event.target) });
};
</script>
"""

if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "5000")))
