"""Jobs with progress: whoever writes in the room #jobs orders one; threads of no request's do them.

python scripts/examples/worker.py [PORT]      then open http://127.0.0.1:8080/#jobs and write: resize 3
"""

from __future__ import annotations

import queue
import signal
import sys
import threading

from threadchat import Chat, CommandError, Refuse, User

Job = tuple[User, str, int]
jobs: queue.Queue[Job | None] = queue.Queue(maxsize=100)
chat = Chat()


@chat.on_message
def order(user: User, room: str, text: str) -> str:
    """Takes orders in one room; runs on the connection's thread, so the queue may be waited for."""
    if room == "jobs":
        name, _, steps = text.partition(" ")
        if not steps.isdecimal() or len(steps) > 2:
            raise Refuse("an order is a name and a number of steps up to 99, such as: resize 3")
        try:
            jobs.put((user, name, int(steps)), timeout=2)
        except queue.Full:
            raise Refuse("too many jobs; try again in a moment") from None
    return text


def work() -> None:
    """What a Celery task would do: tells the room of its steps, and the one who ordered of the end."""
    while (job := jobs.get()) is not None:
        user, name, steps = job
        for step in range(1, steps + 1):
            chat.publish("jobs", f"{name} for {user.nickname}: {step} of {steps}", nickname="worker")
        try:
            chat.direct(user.id, f"{name} is done", nickname="worker")
        except CommandError:
            pass  # they left


def main() -> None:
    workers = [threading.Thread(target=work, name=f"worker-{i}", daemon=True) for i in range(2)]
    for worker in workers:
        worker.start()
    with chat:
        chat.listen(int(sys.argv[1]) if len(sys.argv) > 1 else None)
        print(f"jobs are taken at {chat.url}#jobs", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
        for _ in workers:
            jobs.put(None)
        for worker in workers:
            worker.join()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # for all threads to come
    main()
