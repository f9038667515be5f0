"""Makes README's picture of the page: python -m tests.e2e.picture, from the top of the tree."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import Any

from tests.e2e.browser import Person, chromium
from tests.e2e.process import ServerProcess

PICTURE = Path(__file__).parents[2] / "scripts/assets/page.png"
ROOM = "garden"
METRICS = {"width": 1160, "height": 680, "deviceScaleFactor": 1.5, "mobile": False}


def talk(ann: Person, bob: Person, mira: Person) -> None:
    """A short conversation; everybody waits for the line before, so that the order is theirs."""
    lines = [
        (mira, "Morning! The tomatoes are ready. Who takes the watering can today?"),
        (bob, "Me. I'll be there at ten 🍅"),
        (bob, "Does anybody still have the key to the shed?"),
        (ann, "I do, I'll leave it under the blue pot."),
        (ann, "By the way, I pulled the cable of this laptop for a minute. Nothing is missing 🙂"),
        (mira, "And nothing came twice. I counted."),
    ]
    for person, text in lines:
        script = "const box = document.getElementById('message'); box.focus();"
        person.run(script + "document.execCommand('insertText', false, arguments[0])", text)
        person.see("send").click()  # WebDriver's own typing knows no emoji
        ann.wait_for_text(text)


def unread(ann: Person, bob: Person, mira: Person) -> None:
    """Elsewhere something came that ann has not looked at yet."""
    bob.open_room("lobby")
    bob.say("Is the meeting still on Friday?")
    mira.write_to("ann")
    mira.say("Psst, it is bob's birthday tomorrow")
    ann.wait(lambda: "1 unread" in ann.see("room", name="lobby").text, "one unread in the lobby")
    ann.see("direct", name="mira")
    ann.see("room", name="lobby")


def take(driver: Any, url: str) -> bytes:
    """The picture as ann sees it, as a PNG."""
    ann = Person(driver, url).enter("ann")
    ann.emulate("Emulation.setDeviceMetricsOverride", **METRICS)
    ann.open_room("kitchen")
    ann.open_room(ROOM)
    mira, bob = (Person(driver, f"{url}/#{ROOM}").enter(name) for name in ("mira", "bob"))
    talk(ann, bob, mira)
    unread(ann, bob, mira)
    mira.see("room", name=ROOM).click()
    bob.see("room", name=ROOM).click()
    bob.see("message").send_keys("found it")
    ann.emulate("Input.dispatchMouseEvent", type="mouseMoved", x=5, y=5)  # no row looks pointed at
    ann.wait(lambda: "bob is typing" in ann.see("typing").text, "bob to be typing")
    shot = ann.look().execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": False})
    return base64.b64decode(shot["data"])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = ServerProcess(Path(folder) / "server.log")
        try:
            with chromium(Path(folder) / "profile") as driver:
                picture = take(driver, server.url)
        finally:
            server.stop()
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(picture)


if __name__ == "__main__":
    main()
