"""The page for all people: screen readers, keyboards, contrast, writing from right to left."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.e2e.browser import AXE, Cable, Person, missing
from tests.e2e.people import Bot, Room
from threadchat import Chat, Config

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "nothing is missing")
needs_axe = pytest.mark.skipif(not AXE.exists(), reason="needs axe-core, which scripts/test gets by npm")

SHOTS = "THREADCHAT_SHOTS" in os.environ  # pictures are wanted, on a phone too
TEXT = "**Bold**, `code`, https://example.org\n> quoted\n- one\n```\nblock\n```"


def insert(person: Person, text: str) -> None:
    script = "const box = document.getElementById('message'); box.focus();"
    person.run(script + "document.execCommand('insertText', false, arguments[0])", text)


@pytest.fixture
def server_url() -> Iterator[str]:
    """A server in this process, where whoever comes with a browser may moderate."""
    with Chat(Config(port=0)) as chat:
        chat.authenticate(lambda environ: "mod" if "Chrome" in environ.get("HTTP_USER_AGENT", "") else None)
        chat.moderates(lambda user, room: user.id == "mod")
        chat.listen()
        yield chat.url.rstrip("/")


def sound(person: Person, state: str, part: str = "html") -> None:
    """By day and by night nothing is wrong in this part of the page. Only colors differ between them."""
    for scheme, rules in (("light", ()), ("dark", ("color-contrast",))):
        person.theme(scheme)
        person.shoot(f"{state}-{scheme}")
        faults = person.faults(*rules, part=part)
        assert not faults, "\n".join([f"{state}, {scheme}", *faults])
    if SHOTS:
        person.phone()
        person.shoot(f"{state}-phone")
        person.emulate("Emulation.clearDeviceMetricsOverride")


@needs_axe
def test_axe_finds_nothing(room: Room, bot: Bot, cable: Cable) -> None:
    """In one walk through the states of the page. Where only a part has changed, that is looked at."""
    from selenium.webdriver.common.keys import Keys

    bot.ask(type="join", room="lobby")
    bot.ask(type="join", room="kitchen")
    ann = room.window(url=cable.url)
    ann.see("nickname")
    sound(ann, "welcome")
    ann.see("nickname").send_keys(" ", Keys.ENTER)
    sound(ann, "welcome-problem", "#welcome")
    ann.enter("mod")
    sound(ann, "empty", "#app")
    insert(ann, TEXT)
    ann.click("send")
    bot.say("hello @mod", "one more", "https://example.org/" + "x" * 300)
    ann.wait(lambda: len(ann.texts()) == 4, "all of them")
    ann.click("message-row")
    ann.click("tool-react")
    ann.see("emoji")
    sound(ann, "emoji", "#popup")
    ann.click("emoji")
    ann.see("reaction")
    ann.click("message-row")
    ann.click("tool-more")
    sound(ann, "menu", "#popup")
    ann.click("menu-reply")
    insert(ann, "answer @b")
    ann.see("completion")
    sound(ann, "reply", "#composer")
    ann.keys(Keys.ENTER, Keys.ENTER)
    ann.see("quote")
    sound(ann, "messages")
    ann.keys(Keys.ARROW_UP)
    sound(ann, "editing", "#composer")
    ann.keys(Keys.ESCAPE)
    ann.choose("me", "menu-settings")
    sound(ann, "settings", "#dialog")
    ann.click("dialog-cancel")
    ann.choose("me", "menu-rename")
    sound(ann, "rename", "#dialog")
    ann.click("dialog-cancel")
    ann.click("person", name="bot")
    ann.see("profile-ban")
    sound(ann, "profile", "#dialog")
    ann.click("profile-ban")
    ann.see("reason")
    sound(ann, "sanction", "#dialog")
    ann.click("dialog-cancel")
    ann.click("person", name="bot")
    ann.click("block")
    ann.see("block-sure")
    sound(ann, "block-sure", "#dialog")
    ann.click("dialog-save")
    ann.see("unfold-blocked")
    sound(ann, "blocked", "#conversation")
    ann.click("person", name="bot")
    ann.click("profile-write")
    ann.see("notice")
    sound(ann, "blocked-direct", "#conversation")
    ann.see("notice").find_element("tag name", "button").click()
    ann.see("message")
    sound(ann, "direct", "#conversation")
    ann.open_room("garden")
    bot.say(*(f"news {number}" for number in range(60)))
    ann.wait(lambda: "unread" in ann.see("room", name="lobby").text, "them to be unread")
    sound(ann, "unread-list", "#sidebar")
    ann.click("room", name="lobby")
    ann.see("new")
    sound(ann, "unread", "#conversation")
    cable.cut()
    ann.see("banner", state="away")
    ann.say("waiting")
    sound(ann, "away", "#conversation")
    ann.phone()
    ann.click("menu")
    sound(ann, "drawer")


def spoken(person: Person) -> list[str]:
    return list(person.run("return [...document.querySelectorAll('#announcer p')].map(e => e.textContent)"))


def test_what_is_new_is_announced_once_and_never_a_whole_room(room: Room, bot: Bot) -> None:
    bot.say("old", "older")
    ann = room.enter("ann")
    ann.wait_for_text("older")
    ann.run(
        "window.said = []; new MutationObserver((list) => list.forEach((e) => e.addedNodes.forEach("
        "(n) => said.push(n.textContent)))).observe(document.getElementById('announcer'), {childList: true})"
    )
    assert spoken(ann) == [], "the past is not read out"
    bot.say("new")
    ann.wait(lambda: ann.run("return said") == ["bot: new"], "it to be announced")
    ann.say("mine")
    ann.wait(lambda: ann.run("return said") == ["bot: new", "You: mine"], "one's own, once")
    ann.open_room("garden")
    ann.click("room", name="lobby")
    bot.say("last")
    ann.wait(lambda: "bot: last" in ann.run("return said"), "the next")
    assert ann.run("return said") == ["bot: new", "You: mine", "bot: last"]
    assert ann.run("return document.getElementById('log').getAttribute('role')") == "region"
    bylines = "return [...document.querySelectorAll('.message .byline')].map((e) => e.textContent)"
    named = [byline.startswith(("bot", "ann")) for byline in ann.run(bylines)]
    assert all(named), "grouped messages keep the name"


def test_sixty_rooms_are_one_tab_stop(room: Room) -> None:
    from selenium.webdriver.common.keys import Keys

    ann = room.window()
    rooms = "JSON.stringify({me: {user: 1, nickname: 'ann'}, current: '#room 1', directs: [], rooms: "
    ann.run(
        f"sessionStorage.setItem('threadchat.session', {rooms}"
        "Array.from({length: 60}, (_, i) => ({name: `room ${i}`, draft: '', pending: [], read: null}))}))"
    )
    ann.look().refresh()
    ann.arrived()
    ann.wait(lambda: len(ann.all("room")) == 60, "sixty rooms")
    ann.click("message")
    seen = []
    for _ in range(30):
        ann.keys(Keys.TAB, holding=Keys.SHIFT)
        seen.append(ann.focused())
        if ann.focused() == "room-name":
            break
    assert seen.count("room") == 1, seen
    assert seen[-1] == "room-name", seen
    ann.keys(Keys.TAB)
    ann.keys(Keys.TAB)
    ann.keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ENTER)
    ann.wait(lambda: ann.see("title").text != "#room 1", "another room")
    ann.shoot("sixty")


def test_focus_never_falls_to_nowhere(room: Room, bot: Bot) -> None:
    from selenium.webdriver.common.keys import Keys

    body = "return document.activeElement === document.body"
    ann = room.enter("ann")
    bot.say("hello")
    ann.wait_for_text("hello")
    ann.click("author")
    ann.keys(Keys.ESCAPE)
    assert not ann.run(body)
    ann.click("message-row")
    ann.click("tool-more")
    ann.keys(Keys.ESCAPE)
    assert not ann.run(body)
    ann.click("tool-react")
    ann.click("emoji")
    ann.click("reaction")
    ann.wait(lambda: not ann.all("reaction"), "the reaction to be gone")
    assert not ann.run(body)
    ann.choose("me", "menu-settings")
    ann.keys(Keys.ESCAPE)
    assert ann.focused() == "me"
    ann.open_room("garden")
    ann.click("leave")
    ann.wait(lambda: ann.see("title").text == "#lobby", "the other room")
    assert ann.focused() == "message"


def test_from_sign_in_to_reaction_reply_edit_and_ban_by_keyboard_alone(room: Room, bot: Bot) -> None:
    from selenium.webdriver.common.keys import Keys

    bot.ask(type="join", room="lobby")
    ann = room.window()
    ann.wait(lambda: ann.focused() == "nickname", "the nickname to have the focus")
    ann.keys("mod", Keys.ENTER)
    ann.arrived()
    bot.say("first", "second")
    ann.wait_for_text("second")

    def tab_to(testid: str, *, back: bool = False) -> None:
        for _ in range(12):
            if ann.focused() == testid:
                return
            ann.keys(Keys.TAB, holding=Keys.SHIFT if back else "")
        raise AssertionError(f"{testid} is not reached")

    tab_to("message-row", back=True)
    ann.keys(Keys.ARROW_UP, Keys.ENTER)
    ann.wait(lambda: ann.focused() == "menu-reply", "the menu")
    ann.keys(Keys.ARROW_DOWN, Keys.ENTER)
    ann.wait(lambda: ann.focused() == "emoji", "the emoji")
    ann.keys(Keys.ARROW_RIGHT, Keys.ENTER)
    ann.wait(lambda: ann.see("reaction").get_attribute("data-emoji") == "❤️", "the reaction")
    ann.wait(lambda: ann.focused() == "message-row", "the message to have the focus again")
    ann.keys(Keys.ENTER, Keys.ENTER)
    ann.wait(lambda: ann.focused() == "message", "the message box")
    ann.keys("answer", Keys.ENTER)
    ann.see("quote")
    ann.wait(lambda: len(ann.all("message-row", state="delivered")) == 3, "it to be delivered")
    ann.keys(Keys.ARROW_UP)
    ann.keys("!", Keys.ENTER)
    ann.wait_for_text("answer!")
    tab_to("message-row", back=True)
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert ann.run(outline) == "solid", "the focus is visible"

    ann.keys(Keys.ARROW_UP, Keys.ENTER)
    ann.wait(lambda: ann.focused() == "menu-reply", "the menu of bot's message")
    ann.keys(Keys.END, Keys.ARROW_UP)
    ann.wait(lambda: ann.focused() == "block", "the entry before the last")
    ann.keys(Keys.ARROW_UP, Keys.ENTER)
    ann.wait(lambda: ann.focused() == "profile-write", "the profile")
    tab_to("profile-ban")
    ann.keys(Keys.ENTER)
    ann.wait(lambda: ann.focused() == "reason", "the reason to be asked for")
    ann.keys("spam")
    tab_to("how-long")
    ann.keys("1 d")
    ann.wait(lambda: ann.see("how-long").get_attribute("value") == "86400", "a day")
    tab_to("dialog-save")
    ann.keys(Keys.ENTER)
    ann.wait(lambda: ann.see("toast").text.startswith("Done."), "it to be done")
    ann.wait(lambda: not ann.all("person", name="bot"), "bot to be out")
    assert ann.focused() in ("message-row", "message"), "the focus is where one can go on"


def test_from_right_to_left_nothing_is_out_of_place(room: Room, bot: Bot) -> None:
    bot.ask(type="join", room="lobby")
    ann = room.enter("ann")
    bot.say("שלום", "hello")
    ann.wait_for_text("hello")
    ann.run("document.documentElement.dir = 'rtl'")
    assert ann.see("sidebar").rect["x"] > ann.see("log").rect["x"], "the rooms are on the right"
    assert ann.see("people").rect["x"] < ann.see("log").rect["x"]
    wide = "return document.documentElement.scrollWidth > innerWidth"
    assert not ann.run(wide)
    ann.shoot("rtl")
    ann.phone()
    assert not ann.run(wide)
    ann.click("menu")
    ann.see("sidebar")
    assert not ann.run(wide)
    ann.shoot("rtl-phone")
