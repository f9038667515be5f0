"""Measures the page in a flood: python -m tests.e2e.flood [messages a second] [seconds].

Prints the longest task and, for keys that are pressed meanwhile, the time from the key to the next frame.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import quantiles

from websockets.sync.client import connect

from tests.e2e.browser import Person, chromium
from tests.e2e.process import ServerProcess

MEASURE = """
    window.tasks = [];
    new PerformanceObserver((list) => list.getEntries().forEach((e) => tasks.push(e.duration)))
        .observe({type: "longtask", buffered: false});
    window.keys = [];
    document.getElementById("message").addEventListener("input", () => {
        const pressed = performance.now();
        requestAnimationFrame(() => setTimeout(() => keys.push(performance.now() - pressed)));
    });
    const box = document.getElementById("message");
    box.focus();
    window.typing = setInterval(() => document.execCommand("insertText", false, "a"), 100);
"""
ROWS = "return document.querySelectorAll('#messages > li').length"
ELEMENTS = "return document.querySelectorAll('*').length"


def flood(url: str, rate: int, seconds: float, tick: float = 0.02) -> int:
    """Writes into the lobby at an even rate. Returns how many messages there were."""
    sent = 0
    with connect(url) as socket:
        socket.send(json.dumps({"type": "hello", "nickname": "flood"}))
        begun = time.monotonic()
        while (passed := time.monotonic() - begun) < seconds:
            while sent < passed * rate:
                text = f"message {sent} with **a few** words of `text` in it"
                socket.send(json.dumps({"type": "message", "room": "lobby", "message": text}))
                sent += 1
            time.sleep(tick)
        socket.send(json.dumps({"type": "ping", "id": "last"}))
        while json.loads(socket.recv()).get("re") != "last":
            pass
    return sent


def measure(person: Person, url: str, rate: int, seconds: float) -> dict[str, float]:
    person.run(MEASURE)
    sent = flood(url, rate, seconds)
    last = f"message {sent - 1} "
    found = (
        "return [...document.querySelectorAll('#messages > li')].at(-1).textContent.includes(arguments[0])"
    )
    person.wait(lambda: person.run(found, last), "the last message")
    tasks, keys = person.run("clearInterval(typing); return [tasks, keys]")
    return {
        "messages": sent,
        "longest task, ms": max(tasks, default=0),
        "long tasks": len(tasks),
        "key to screen p50, ms": round(quantiles(keys, n=20)[9]),
        "key to screen p95, ms": round(quantiles(keys, n=20)[18]),
        "rows": person.run(ROWS),
        "elements": person.run(ELEMENTS),
    }


def tell(where: str, figures: dict[str, float]) -> None:
    sys.stdout.write(f"{where}: {figures}\n")


def main() -> None:
    rate, seconds = (int(sys.argv[1]), float(sys.argv[2])) if len(sys.argv) > 2 else (500, 10.0)
    with tempfile.TemporaryDirectory() as folder:
        server = ServerProcess(Path(folder) / "server.log")
        try:
            with chromium(Path(folder) / "profile") as driver:
                ann = Person(driver, server.url).enter("ann")
                tell("at the end", measure(ann, f"{server.ws}/chat", rate, seconds))
                ann.run("document.getElementById('log').scrollTop = 0")
                flood(f"{server.ws}/chat", rate, seconds / 2)
                tell("further up", {"rows": ann.run(ROWS), "elements": ann.run(ELEMENTS)})
        finally:
            server.stop()


if __name__ == "__main__":
    main()
