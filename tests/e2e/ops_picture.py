"""Makes README's picture of `/ops`: python -m tests.e2e.ops_picture, from the top of the tree."""

from __future__ import annotations

import base64
import contextlib
import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.e2e.browser import Person, chromium
from tests.e2e.crowd import Crowd, Member
from tests.e2e.process import ServerProcess

PICTURE = Path(__file__).parents[2] / "threadchat/docs/ops.png"
KEY = "key-of-the-operators"
SECONDS = 115  # long enough for lines over five minutes to have a shape
METRICS = {"width": 1060, "height": 1760, "deviceScaleFactor": 1, "mobile": False}
NAMES = (
    "ann",
    "bob",
    "mira",
    "ove",
    "sita",
    "juan",
    "wei",
    "tess",
    "amir",
    "lena",
    "otto",
    "yuki",
    "zoe",
    "max",
)


class Traffic:
    """A lively evening: rooms that talk in waves, some who come and go, a few who read slowly."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._chance = random.Random(6)
        self._rooms = [f"room {number}" for number in range(4)]
        self._members: list[Member] = []
        for room in self._rooms:
            self._members += self._enter(room, 30)

    def run(self, seconds: float) -> None:
        """Lets them talk for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._talk(end - time.monotonic())
            self._come_and_go()
            deadline = time.monotonic() + self._chance.uniform(0.05, 0.2)
            self._crowd.run(lambda until=deadline: time.monotonic() > until)  # type: ignore[misc]

    def _enter(self, room: str, count: int = 1, **how: Any) -> list[Member]:
        members = self._crowd.enter(count, room, **how)
        for member in members:
            member.command("profile", nickname=self._chance.choice(NAMES))
        return members

    def _talk(self, left: float) -> None:
        wave = 3 + 9 * (int(left / 11) % 2)
        for number in range(self._chance.randrange(1, wave)):
            member = self._chance.choice(self._members)
            if member.closed is None:
                if self._chance.random() < 0.02:
                    member.command("leave", room="nowhere")
                room = self._chance.choice(self._rooms)
                said = f"{number} ".ljust(self._chance.randrange(20, 2500), ".")
                member.say(room, [said])

    def _come_and_go(self) -> None:
        chance = self._chance.random()
        if chance < 0.06:
            leaver = self._chance.choice(self._members)
            leaver.reset() if chance < 0.012 else leaver.leave()
            self._members.remove(leaver)
        elif chance < 0.11:
            self._members += self._enter(self._chance.choice(self._rooms))
        elif chance < 0.18:
            (slow,) = self._enter(self._chance.choice(self._rooms), receive_buffer=4096)
            slow.pace = self._chance.choice((0, 40_000, 90_000))


def take(driver: Any, server: ServerProcess) -> bytes:
    """The picture, as a PNG."""
    with Crowd(server.port) as crowd:
        traffic = Traffic(crowd)  # all come at once, which no line need show
        operator = Person(driver, f"{server.url}/ops")
        operator.emulate("Emulation.setDeviceMetricsOverride", **METRICS)
        operator.see("key").send_keys(KEY)
        operator.click("open")
        talking = threading.Thread(target=traffic.run, args=(SECONDS,), daemon=True)
        talking.start()
        talking.join(SECONDS * 0.8)  # while they still talk
        operator.wait(
            lambda: operator.see("queued").get_attribute("data-value") != "0", "somebody to be slow"
        )
        shot = operator.look().execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        talking.join()
    return base64.b64decode(shot["data"])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        arguments = ("--ping-interval", "5", "--send-timeout", "8")
        server = ServerProcess(Path(folder) / "s.log", *arguments, environ={"THREADCHAT_API_KEY": KEY})
        stack.callback(server.stop)
        driver = stack.enter_context(chromium(Path(folder) / "profile"))
        PICTURE.write_bytes(take(driver, server))


if __name__ == "__main__":
    main()
