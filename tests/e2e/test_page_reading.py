"""Reading in a real browser: formatted text, what is unread, floods, and a place that is kept."""

from __future__ import annotations

import pytest

from tests.e2e.browser import Person, missing
from tests.e2e.people import Bot, Room

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "nothing is missing")

TEXT = """Look at **this**, *that* and `code`:
```python
def double(x):
    return 2 * x
```
> said before
- one
- two
1. first
2. second
See https://example.org/a_(b)?c=d. <b>No markup.</b>"""
PLACE = "return document.getElementById('log').scrollTop"


def paste(person: Person, text: str) -> None:
    """WebDriver's own typing would press Enter at the end of each line."""
    script = "const box = document.getElementById('message'); box.focus();"
    person.run(script + "document.execCommand('insertText', false, arguments[0])", text)


def shoot(person: Person, name: str) -> None:
    """By day, by night and on a phone."""
    for scheme in ("light", "dark"):
        person.theme(scheme)
        person.shoot(f"{name}-{scheme}")
    person.theme("light")
    person.phone()
    person.shoot(f"{name}-phone")
    person.emulate("Emulation.clearDeviceMetricsOverride")


def html(person: Person) -> str:
    return str(person.run("return document.querySelector('[data-testid=text]').innerHTML"))


def test_text_is_formatted_and_hostile_text_stays_text(room: Room) -> None:
    ann, bob = room.enter("ann"), room.enter("bob")
    paste(ann, TEXT)
    ann.click("send")
    bob.wait(lambda: "double(x)" in html(bob), "the message")
    found = html(bob)
    assert "<strong>this</strong>, <em>that</em> and <code>code</code>:" in found
    assert '<pre tabindex="0"><code>def double(x):\n    return 2 * x</code></pre>' in found
    assert '<blockquote><p dir="auto">said before</p></blockquote>' in found
    assert '<ul><li dir="auto">one</li><li dir="auto">two</li></ul>' in found
    assert '<ol start="1"><li dir="auto">first</li><li dir="auto">second</li></ol>' in found
    assert "&lt;b&gt;No markup.&lt;/b&gt;" in found
    link = bob.look().find_element("css selector", ".text a")
    assert link.get_attribute("href") == "https://example.org/a_(b)?c=d"
    assert link.get_attribute("rel") == "noopener noreferrer"
    shoot(bob, "format")

    code = "    if a:\n        b()\n\n    c()"
    paste(ann, code)
    ann.click("send")
    bob.wait_for_text(code)
    pasted = "document.querySelector('.message:last-child .text p')"
    space = f"return getComputedStyle({pasted}).whiteSpaceCollapse"
    assert bob.run(space) == "preserve", "pasted code keeps its indentation"

    ann.run(
        "const box = document.getElementById('message'); box.value = 'half \\ud83d!';"
        "box.dispatchEvent(new Event('input')); document.getElementById('send').click()"
    )
    for person in (ann, bob):
        person.wait_for_text("half \ufffd!")
    assert room.complaints() == []


def test_one_lands_at_what_is_new_and_only_what_was_on_the_screen_is_read(room: Room, bot: Bot) -> None:
    ann = room.enter("ann")
    ann.open_room("garden")
    bot.say(*(f"news {number}" for number in range(60)))
    ann.wait(lambda: "60 unread" in ann.see("room", name="lobby").text, "sixty unread")
    ann.click("room", name="lobby")
    ann.see("new")
    ann.wait(lambda: 0 < int(ann.see("jump").text.split()[0]) < 60, "some of them to be on the screen")
    left = int(ann.see("jump").text.split()[0])
    assert ann.see("new").rect["y"] < 250, "the line is near the top"
    shoot(ann, "unread")
    ann.run("document.getElementById('log').scrollTop += 200")
    ann.wait(lambda: int(ann.see("jump").text.split()[0]) < left, "fewer")
    ann.click("room", name="garden")
    ann.wait(lambda: "unread" in ann.see("room", name="lobby").text, "the rest to be unread")
    ann.click("room", name="lobby")
    ann.click("jump")
    ann.wait(lambda: "unread" not in ann.see("room", name="lobby").text, "nothing to be unread")


def test_what_came_while_one_was_away_can_be_gone_to(room: Room, bot: Bot) -> None:
    """More than is loaded: the first of them is a button away."""
    ann = room.enter("ann")
    bot.say("before")
    ann.wait_for_text("before")
    ann.look().get(room.url + "/page/favicon.svg?away")
    bot.say(*(f"news {number}" for number in range(300)))
    ann.look().get(room.url)
    ann.arrived()
    ann.wait(lambda: "news 0" in ann.texts(), "the first of them")
    ann.see("new")
    assert "before" in ann.texts()
    assert "99+ new" in ann.see("jump").text
    ann.run("document.getElementById('log').scrollTop += 1000")
    ann.click("jump")
    ann.wait(lambda: ann.texts()[-1] == "news 299", "the newest")
    ann.wait(lambda: not ann.all("jump")[0].is_displayed(), "the end")


def test_a_flood_while_one_reads_further_up_fills_no_page(room: Room, bot: Bot) -> None:
    ann = room.enter("ann")
    bot.say(*(f"old {number}" for number in range(120)))
    ann.wait_for_text("old 119")
    ann.run("document.getElementById('log').scrollTop = 0")
    ann.wait(ann.all("jump")[0].is_displayed, "being further up")
    where = "return document.querySelector('[data-testid=text]').getBoundingClientRect().top"
    first, place = ann.texts()[0], ann.run(where)
    for part in range(12):
        bot.say(*(f"flood {part} {number}" for number in range(120)))
    ann.wait(lambda: "99+ new" in ann.see("jump").text, "the flood to be counted")
    assert ann.run("return document.querySelectorAll('#messages > li').length") <= 1000
    assert ann.texts()[0] == first
    assert abs(ann.run(where) - place) < 40, "what one reads stays where it is"
    assert "flood 0 0" in ann.texts()
    last = ann.texts()[-1]
    ann.run("document.getElementById('log').scrollTop = 1e6")
    ann.wait(lambda: ann.texts()[-1] != last, "what follows")
    ann.run("document.getElementById('jump').click()")
    ann.wait(lambda: ann.texts()[-1] == "flood 11 119", "the newest")
    assert ann.run("return document.querySelectorAll('#messages > li').length") <= 1000


def test_at_the_end_of_a_long_room_old_rows_go(room: Room, bot: Bot) -> None:
    ann = room.enter("ann")
    for part in range(6):
        bot.say(*(f"line {part} {number}" for number in range(100)))
    ann.wait_for_text("line 5 99")
    assert ann.run("return document.querySelectorAll('#messages > li').length") <= 400

    def came_back() -> bool:
        ann.run("document.getElementById('log').scrollTop = 0")
        return "line 1 0" in ann.texts()

    ann.wait(came_back, "older ones to come back")


def test_two_of_one_name_are_told_apart(room: Room, bot: Bot) -> None:
    ann, other, third = room.enter("ann"), room.enter("sam"), room.enter("sam")
    other.say("I am Sam")
    ann.wait_for_text("I am Sam")
    third.say("so am I")
    ann.wait_for_text("so am I")
    ann.wait(lambda: len({each.text for each in ann.all("which")}) == 2, "two numbers")
    ann.all("author")[0].click()
    ann.see("profile")
    ann.shoot("profile")
    assert "#lobby" in ann.see("dialog").text
    ann.click("profile-write")
    ann.wait(lambda: ann.see("title").text == "sam", "a private conversation")
