"""A program with events and commands of its own, for threadchat.js: application.py PORT [BROKER]."""

from __future__ import annotations

import sys
import threading
from typing import Any, TypedDict
from urllib.parse import parse_qs

from threadchat import Chat, Config, Refuse


class Order(TypedDict):
    """What `order.create` takes."""

    id: int


def make_chat(port: int, broker: str) -> Chat:
    chat = Chat(Config(port=port, broker=broker))

    @chat.authenticate
    def who(environ: dict[str, Any]) -> str | None:
        return parse_qs(environ["QUERY_STRING"]).get("user", [None])[0]

    @chat.command("order.create")
    def create(caller: Any, data: Order) -> dict[str, Any]:
        number = data["id"]
        chat.emit("orders", "order.created", {"id": number}, key=str(number))
        chat.emit(user=caller.user.id, name="notice", data={"id": number}, key=str(number))
        return {"id": number}

    @chat.command("order.cancel")
    def cancel(caller: Any, data: Any) -> None:
        raise Refuse("not yours")

    @chat.command("watch")
    def watch(caller: Any, data: str) -> dict[str, Any]:
        caller.join(data)
        caller.emit("hint", {"text": f"welcome to {data}"})
        return {"user": caller.user.id}

    @chat.command("progress")
    def progress(caller: Any, data: int) -> None:
        for done in range(data):
            chat.emit("job", "progress", {"done": done + 1}, keep=False)

    return chat


def main() -> None:
    with make_chat(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "memory") as chat:
        chat.listen()
        print("listening", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
