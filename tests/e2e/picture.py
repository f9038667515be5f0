"""Makes README's pictures of the page: python -m tests.e2e.picture, from the top of the tree.

Emoji need a font that has them in color, as Debian's fonts-noto-color-emoji.
"""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import Any

from tests.e2e.browser import Person, chromium
from tests.e2e.process import ServerProcess

PICTURES = Path(__file__).parents[2] / "scripts/assets"
ROOM = "garden"
DESK = {"width": 1160, "height": 680, "deviceScaleFactor": 1.5, "mobile": False}
PHONE = {"width": 390, "height": 720, "deviceScaleFactor": 1.5, "mobile": True}


def say(person: Person, text: str, ann: Person) -> None:
    """Everybody waits for the line before, so that the order is theirs."""
    script = "const box = document.getElementById('message'); box.focus();"
    person.run(script + "document.execCommand('insertText', false, arguments[0])", text)
    person.click("send")  # WebDriver's own typing knows no emoji
    ann.wait_for_text(text.translate({ord("*"): "", ord("`"): ""}))


def tool(person: Person, text: str, testid: str) -> None:
    """Presses a button at the message with this text."""
    person.wait_for_text(text)
    row = next(row for row in person.all("message-row") if text in row.text)
    row.click()
    row.find_element("css selector", f'[data-testid="{testid}"]').click()


def react(person: Person, text: str, emoji: str) -> None:
    tool(person, text, "tool-react")
    label = f"React with {emoji}"
    next(each for each in person.all("emoji") if each.get_attribute("aria-label") == label).click()


def talk(ann: Person, bob: Person, mira: Person) -> None:
    """A short conversation with answers, mentions and reactions."""
    ripe = "Morning! The tomatoes are ready 🍅 Who takes the watering can today?"
    say(mira, ripe, ann)
    say(bob, "Me. I'll be there at ten.", ann)
    key = "@ann do you still have the key to the shed?"
    say(bob, key, ann)
    tool(ann, key, "tool-reply")
    say(ann, "I do. It lies under the **blue** pot, as `README` says 🙂", ann)
    cable = "By the way, I pulled the cable of this laptop for a minute. Nothing is missing."
    say(ann, cable, ann)
    tool(mira, cable, "tool-reply")
    say(mira, "And nothing came twice. I counted.", ann)
    react(bob, ripe, "🎉")
    react(ann, ripe, "🎉")
    react(ann, ripe, "❤️")
    react(mira, cable, "👍")
    react(bob, cable, "👍")
    ann.wait(lambda: len(ann.all("reaction")) == 3, "all reactions")


def unread(ann: Person, bob: Person, mira: Person) -> None:
    """Elsewhere something came that ann has not looked at yet."""
    bob.open_room("lobby")
    bob.say("Is the meeting still on Friday?")
    bob.say("@ann, you know?")
    bob.keys("\ue007")  # the first Enter took the name that is offered
    mira.write_to("ann")
    mira.say("Psst, it is bob's birthday tomorrow")
    ann.wait(lambda: "1 mention" in ann.see("room", name="lobby").text, "a mention in the lobby")
    ann.see("direct", name="mira")


def shoot(ann: Person, name: str, scheme: str, metrics: dict[str, object]) -> None:
    ann.theme(scheme)
    ann.emulate("Emulation.setDeviceMetricsOverride", **metrics)
    ann.emulate("Input.dispatchMouseEvent", type="mouseMoved", x=5, y=5)  # no row looks pointed at
    ann.run("document.getElementById('log').scrollTop = 1e6")
    ann.click("message")
    shot = ann.look().execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": False})
    (PICTURES / name).write_bytes(base64.b64decode(shot["data"]))


def take(driver: Any, url: str) -> None:
    """The pictures as ann sees the page: by day, by night, and on a phone."""
    ann = Person(driver, url).enter("ann")
    ann.emulate("Emulation.setDeviceMetricsOverride", **DESK)
    ann.open_room("kitchen")
    ann.open_room(ROOM)
    mira, bob = (Person(driver, f"{url}/#{ROOM}").enter(name) for name in ("mira", "bob"))
    talk(ann, bob, mira)
    unread(ann, bob, mira)
    mira.click("room", name=ROOM)
    bob.click("room", name=ROOM)
    for offer in ann.all("toast-close"):
        if offer.is_displayed():
            offer.click()
    bob.see("message").send_keys("found it")
    ann.wait(lambda: "bob is typing" in ann.see("typing").text, "bob to be typing")
    shoot(ann, "page.png", "light", DESK)
    shoot(ann, "page-dark.png", "dark", DESK)
    shoot(ann, "page-phone.png", "light", PHONE)


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        server = ServerProcess(Path(folder) / "server.log")
        try:
            with chromium(Path(folder) / "profile") as driver:
                take(driver, server.url)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
