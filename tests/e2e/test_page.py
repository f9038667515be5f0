"""The page in a real browser: people chat, lose the connection and come back, use nothing but a keyboard."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.browser import Cable, Person, go_back, missing
from tests.e2e.people import Bot, Room, port_of
from threadchat import Chat, Config
from threadchat.errors import CloseCode

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "nothing is missing")


def test_two_people_chat(room: Room) -> None:
    ann, bob = room.enter("ann"), room.enter("bob")
    ann.say("hello bob")
    bob.wait_for_text("hello bob")
    bob.say("hello ann")
    ann.wait_for_text("hello ann")
    assert ann.texts() == bob.texts() == ["hello bob", "hello ann"]
    ann.see("message").send_keys("let me see")
    bob.wait(lambda: bob.see("typing").text == "ann is typing…", "ann's typing to be seen")
    ann.say("")
    bob.wait_for_text("let me see")
    bob.wait(lambda: bob.all("typing")[0].text == "", "typing to be over")
    ann.wait(lambda: "bob" in ann.all("quiet")[0].text, "bob's coming to be said")
    ann.wait(lambda: len(ann.all("person")) == 2, "both to be listed at ann's")
    bob.wait(lambda: len(bob.all("person")) == 2, "both to be listed at bob's")
    bob.click("leave")
    ann.wait(lambda: not ann.all("person", name="bob"), "bob to be gone from the list")
    ann.wait(lambda: "bob left" in ann.all("quiet")[-1].text, "a line that says so")
    assert room.complaints() == []


def test_a_deleted_message_is_gone_from_the_screen(room: Room) -> None:
    with Chat(Config(port=0)) as chat:
        chat.listen()
        url = chat.url.rstrip("/")
        ann, bob = room.enter("ann", url=url), room.enter("bob", url=url)
        ann.say("what a secret")
        bob.say("fine")
        ann.wait_for_text("fine")
        events = [item.event for item in chat.hub.find("lobby").history().records]
        chat.hub.delete("lobby", next(event.id for event in events if event.message == "what a secret"))
        for person in (ann, bob):
            person.wait_for_text("This message was deleted.")
            assert person.texts() == ["This message was deleted.", "fine"]
        late = room.enter("cy", url=url)
        late.wait_for_text("fine")
        assert late.texts() == ["This message was deleted.", "fine"]
        for person in list(room.people):
            person.leave()
            room.people.remove(person)


def test_who_is_muted_kicked_or_banned_reads_why(room: Room) -> None:
    with Chat(Config(port=0)) as chat:
        chat.listen()
        ann = room.enter("ann", url=chat.url.rstrip("/"))
        ann.say("hello")
        ann.wait_for_text("hello")
        [user] = [occupant.user for occupant in chat.hub.find("lobby").who()]
        assert isinstance(user, int)
        chat.mute(user, room="lobby", reason="caps lock")
        ann.say("HELLO?")
        ann.wait(lambda: "muted in room lobby: caps lock" in ann.run("return document.body.innerText"), "why")
        chat.lift("mute", user, room="lobby")
        chat.kick(user, room="lobby", reason="calm down")
        ann.wait(
            lambda: "You were kicked out of room lobby: calm down." in ann.see("notice").text, "the notice"
        )
        ann.see("notice").find_element("tag name", "button").click()
        ann.wait(lambda: chat.hub.find("lobby").who(), "being back")
        chat.ban(user, seconds=60, reason="spam")
        ann.wait(lambda: "You are banned until" in ann.see("banner", state="ended").text, "the banner")
        ann.leave()
        room.people.remove(ann)


def test_private_conversation(room: Room) -> None:
    ann, bob = room.enter("ann"), room.enter("bob")
    ann.write_to("bob")
    bob.write_to("ann")
    ann.see("message").send_keys("only")
    bob.wait(lambda: bob.see("typing").text == "ann is typing…", "ann's typing to be seen")
    bob.click("room", name="lobby")
    ann.say(" for you")
    assert "ann" in ann.see("message-row", state="delivered").text
    bob.wait(lambda: "1 unread" in bob.see("direct", name="ann").text, "one unread")
    bob.wait(lambda: bob.driver.title.startswith("(1)"), "the title to count it")
    bob.click("direct", name="ann")
    bob.wait_for_text("only for you")
    bob.wait(lambda: not bob.driver.title.startswith("("), "the title to count nothing")
    bob.say("and back")
    ann.wait_for_text("and back")
    bob.leave()
    room.people.remove(bob)
    ann.click("room", name="lobby")
    ann.wait(lambda: not ann.all("person", name="bob"), "bob to be gone")
    ann.click("direct", name="bob")
    ann.say("still there?")
    assert "not online" in ann.see("failed").text
    ann.click("discard")
    ann.wait(lambda: ann.texts() == ["only for you", "and back"], "the failed message to be gone")


def test_what_is_said_to_one_who_is_known_waits_and_is_in_all_tabs(room: Room) -> None:
    with Chat(Config(port=0)) as chat:
        chat.authenticate(lambda environ: environ.get("HTTP_COOKIE", "").removeprefix("who=") or None)
        chat.listen()
        url = chat.url.rstrip("/")
        urls = {"ann": url, "7": url.replace("127.0.0.1", "localhost")}  # a cookie is a host's

        def enter(name: str) -> Person:
            person = room.window("/healthz", urls[name])
            person.run(f"document.cookie = 'who={name}; path=/'")
            person.look().get(urls[name])
            return person.enter(f"{name}-nick")

        ann, there, bob = enter("ann"), enter("ann"), enter("7")
        ann.write_to("7-nick")
        ann.say("1")
        bob.click("direct", name="ann-nick")
        bob.wait_for_text("1")
        there.click("direct", name="7-nick")
        there.wait_for_text("1")
        assert there.see("message-row").get_attribute("class").split().count("mine") == 1
        bob.look().get(urls["7"] + "/page/favicon.svg?left")
        ann.wait(lambda: not chat.connected("7"), "him to be gone")
        ann.say("2")
        ann.wait(lambda: len(ann.all("message-row", state="delivered")) == 2, "it to be stored")
        bob.look().get(urls["7"])
        bob.click("direct", name="ann-nick")
        bob.wait(lambda: bob.texts() == ["1", "2"], "what waited")
        bob.say("3")
        for person in (ann, there):
            person.wait(lambda person=person: person.texts() == ["1", "2", "3"], "all of it, once")
        for person in list(room.people):
            person.leave()
            room.people.remove(person)


def test_reload_is_the_same_person_in_the_same_place(room: Room, bot: Bot) -> None:
    bot.ask(type="join", room="lobby")
    ann = room.enter("ann")
    ann.open_room("garden")
    ann.click("room", name="lobby")
    ann.say("before")
    bot.say("between")
    ann.wait_for_text("between")
    me = ann.see("person", name="ann").get_attribute("data-user")
    ann.write_to("bot")
    ann.say("to you alone")
    ann.see("message-row", state="delivered")
    ann.click("room", name="lobby")
    ann.see("message").send_keys("half a sentence")
    ann.driver.refresh()
    ann.arrived()
    ann.wait(lambda: ann.texts() == ["before", "between"], "each message once")
    ann.wait(lambda: ann.see("person", name="ann").get_attribute("data-user") == me, "the same user id")
    assert ann.see("message").get_attribute("value") == "half a sentence"
    assert ann.see("room", name="garden")
    ann.click("direct", name="bot")
    ann.wait(lambda: ann.texts() == ["to you alone"], "the private conversation to be there")
    second = room.enter("ann")
    second.wait(lambda: len(second.all("person", name="ann")) == 2, "a second tab to be another ann")


def test_server_restart(room: Room, chat_server: Any) -> None:
    ann = room.enter("ann")
    ann.say("old")
    ann.see("message-row", state="delivered")
    ann.note_banners()
    chat_server.stop()
    ann.see("banner", state="away")
    ann.say("written while away, 1")
    ann.say("written while away, 2")
    assert len(ann.all("message-row", state="waiting")) == 2
    chat_server.restart()
    ann.wait_for_banner("back")
    ann.wait(lambda: len(ann.all("message-row", state="delivered")) == 3, "everything to be delivered")
    assert "may be missing" in ann.see("gap").text
    bob = room.enter("bob")
    bob.wait(lambda: bob.texts() == ["written while away, 1", "written while away, 2"], "both, once")
    ann.wait(lambda: ann.all("banner", state="none"), "the banner to go")


def test_a_restart_turns_no_private_message_to_a_stranger(
    room: Room, chat_server: Any, cable: Cable, bot: Bot
) -> None:
    bot.ask(type="join", room="lobby")
    ann = room.enter("ann", url=cable.url)
    me = ann.see("person", name="ann").get_attribute("data-user")
    ann.write_to("bot")
    ann.say("to the bot")
    ann.see("message-row", state="delivered")
    cable.cut()
    ann.see("banner", state="away")
    ann.say("a secret")
    chat_server.restart()
    stranger = Bot(chat_server.port, "stranger")
    assert stranger.user == bot.user, "the new server counts anew"
    cable.mend()
    assert "somebody new" in ann.see("notice").text
    assert "not sent" in ann.see("failed").text
    assert not ann.all("retry"), "nothing that could send it after all"
    ann.click("room", name="lobby")
    assert ann.see("person", name="ann").get_attribute("data-user") == me, "the same number, another person"
    stranger.ask(type="join", room="lobby")
    ann.write_to("stranger")
    ann.say("hello stranger")
    ann.see("message-row", state="delivered")
    stranger.ask(type="ping")
    assert stranger.directs == ["hello stranger"]
    stranger.close()


def test_a_cut_loses_and_doubles_nothing(room: Room, cable: Cable, bot: Bot) -> None:
    ann = room.enter("ann", url=cable.url)
    bot.say("1")
    ann.wait_for_text("1")
    ann.note_banners()
    cable.deaf.set()  # what ann says arrives, but she never hears that it did
    ann.say("2")
    seen = Bot(port_of(room.url), "watcher")
    ann.wait(lambda: "2" in seen.texts(), "2 to arrive")
    cable.cut()
    ann.see("banner", state="away")
    bot.say("3", "4")
    ann.say("5")
    cable.mend()
    ann.wait_for_banner("back")
    ann.wait(lambda: ann.texts() == ["1", "2", "3", "4", "5"], f"five messages, each once: {ann.texts()}")
    ann.wait(lambda: len(ann.all("message-row", state="delivered")) == 5, "all of them to be confirmed")
    assert seen.texts() == ["1", "2", "3", "4", "5"]
    seen.close()


def test_of_a_duplicated_tab_one_sends_what_waits(room: Room, cable: Cable, bot: Bot) -> None:
    ann = room.enter("ann", url=cable.url)
    cable.cut()
    ann.see("banner", state="away")
    ann.say("once")
    stored = "const all = Object.values(sessionStorage); return all.some((text) => text.includes('once'))"
    ann.wait(lambda: ann.run(f"{stored} && 'threadchat.session' in sessionStorage"), "it to be stored")
    cable.mend()
    copy = ann.duplicate()
    room.people.append(copy)
    copy.arrived()
    copy.wait(lambda: copy.texts() == ["once"], "the message that the other tab sent")
    ann.wait(lambda: ann.all("message-row", state="delivered"), "it to be delivered")
    for person in (ann, copy):
        assert person.texts() == ["once"]
        assert not person.all("failed")
    assert bot.texts() == ["once"]
    copy.say("from the copy")
    ann.wait_for_text("from the copy")
    assert len(ann.all("person", name="ann")) == 1, "it is the same person"


def test_back_and_forth_is_the_same_page_again(room: Room, bot: Bot) -> None:
    ann = room.enter("ann")
    ann.say("before")
    ann.see("message-row", state="delivered")
    ann.run("window.mark = true")
    ann.look().get(room.url + "/page/favicon.svg")
    bot.say("meanwhile")
    go_back(ann.look())
    ann.wait(lambda: ann.texts() == ["before", "meanwhile"], "what was missed")
    assert ann.run("return window.mark"), "it comes out of the browser's cache"
    ann.say("after")
    ann.wait_for_text("after")
    ann.wait(lambda: ann.all("banner", state="none"), "no banner")


def test_a_final_close_is_explained_and_not_retried(room: Room, cable: Cable) -> None:
    ann = room.enter("ann", url=cable.url)
    ann.say("before")
    ann.see("message-row", state="delivered")
    ann.note_banners()
    cable.inject(b"\x88\x02" + CloseCode.FORCE_DISCONNECT.to_bytes(2, "big"))
    assert "disconnected from this server" in ann.see("banner", state="ended").text
    cable.mend()
    ann.click("reconnect")
    ann.wait_for_banner("back")
    ann.say("after")
    ann.wait(lambda: ann.texts() == ["before", "after"], "both, once")


def test_markup_stays_text(room: Room) -> None:
    evil = "<img src=x onerror=alert(1)><b>bold</b>&amp;<script>alert(2)</script>"
    ann = room.enter("<i>ann</i>")
    bob = room.enter("bob", path="/#%3Cb%3Eroom")
    assert bob.see("title").text == "#<b>room"
    ann.open_room("<b>room")
    ann.say(evil)
    bob.wait_for_text(evil)
    bob.write_to("<i>ann</i>")
    bob.say(evil)
    bob.wait_for_text(evil)
    for person in (ann, bob):
        assert not person.look().find_elements("css selector", "b, i, img, #messages script")
    assert room.complaints() == []


def test_older_messages_come_on_scrolling_up(room: Room, bot: Bot) -> None:
    everything = [f"message {number}" for number in range(180)]
    bot.say(*everything)
    ann = room.enter("ann")
    ann.wait_for_text("message 179")
    assert len(ann.texts()) < 120
    where = "return document.querySelector('[data-testid=text]').getBoundingClientRect().top"
    first = ann.texts()[0]
    top = ann.run("document.getElementById('log').scrollTop = 0;" + where)
    ann.wait(lambda: ann.texts()[0] != first, "older messages")
    texts = "[...document.querySelectorAll('[data-testid=text]')]"
    same = f"return {texts}.find(e => e.textContent === '{first}').getBoundingClientRect().top"
    assert abs(ann.run(same) - top) < 40, "what one reads stays where it is"

    def reached_the_start() -> bool:
        ann.run("document.getElementById('log').scrollTop = 0")
        return ann.texts() == everything

    ann.wait(reached_the_start, "all of them, in order, each once")
    assert not ann.all("older")
    bot.say("one more")
    ann.wait(lambda: ann.see("jump").text == "1 new", "a hint at what is new")
    ann.click("jump")
    ann.wait(lambda: not ann.all("jump")[0].is_displayed(), "the end")


def test_a_long_message_is_folded_until_asked_for(room: Room, bot: Bot) -> None:
    long = "\n".join(f"line {number}" for number in range(200))
    bot.say("short", long)
    ann = room.enter("ann")
    ann.wait(lambda: ann.texts() == ["short", long], "both, and the long one whole, to be searched")
    height = "return document.querySelectorAll('[data-testid=text]')[1].clientHeight"
    folded = ann.run(height)
    ann.click("unfold")
    ann.wait(lambda: not ann.all("unfold"), "the button to have done its work")
    assert ann.run(height) > folded * 2


def test_a_text_that_is_too_long_is_told_so_and_stays_whole(room: Room) -> None:
    ann = room.enter("ann")
    paste = "const box = document.getElementById('message'); box.focus();"
    ann.run(paste + "document.execCommand('insertText', false, 'y'.repeat(70000))")
    ann.wait(lambda: "70,000 of at most 64,000" in ann.see("limit").text, "a remark that it is too long")
    ann.keys("\ue007")  # Enter
    assert len(str(ann.see("message").get_attribute("value"))) == 70_000, (
        "nothing was sent, and nothing cut off"
    )
    ann.run("const box = document.getElementById('message'); box.setSelectionRange(10, 70000)")
    ann.keys("\ue003")
    ann.wait(lambda: ann.all("limit")[0].text == "", "the remark to go")


def test_unread_counts(room: Room, bot: Bot) -> None:
    ann = room.enter("ann")
    ann.open_room("garden")
    bot.say("one", "two", room="lobby")
    ann.wait(lambda: "2 unread" in ann.see("room", name="lobby").text, "two unread")
    ann.wait(lambda: ann.driver.title == "(2) #garden · threadchat", "the title to count them")
    ann.driver.refresh()
    ann.arrived()
    ann.wait(lambda: ann.driver.title == "(2) #garden · threadchat", "them to be unread after a reload too")
    ann.click("room", name="lobby")
    ann.wait_for_text("two")
    assert ann.see("new")
    ann.wait(lambda: ann.driver.title == "#lobby · threadchat", "nothing to be unread")


def test_keyboard_alone(room: Room, bot: Bot) -> None:
    from selenium.webdriver.common.keys import Keys

    bot.ask(type="join", room="lobby")
    ann = room.window()
    ann.wait(lambda: ann.focused() == "nickname", "the nickname to have the focus")
    ann.keys("ann", Keys.ENTER)
    ann.arrived()
    ann.wait(lambda: ann.focused() == "message", "the message box to have the focus")
    ann.keys("two")
    ann.keys(Keys.ENTER, holding=Keys.SHIFT)
    ann.keys("lines", Keys.ENTER)
    ann.wait_for_text("two\nlines")

    def tab_to(testid: str, *, back: bool = False) -> None:
        for _ in range(20):
            if ann.focused() == testid:
                return
            ann.keys(Keys.TAB, holding=Keys.SHIFT if back else "")
        raise AssertionError(f"{testid} is not reached by Tab")

    tab_to("person")
    ann.keys(Keys.ARROW_DOWN, Keys.ENTER)
    ann.wait(lambda: ann.focused() == "profile-write", "the profile")
    ann.keys(Keys.ENTER)
    ann.wait(lambda: ann.see("title").text == "bot", "a private conversation with the bot")
    ann.wait(lambda: ann.focused() == "message", "the message box to have the focus")
    tab_to("room-name", back=True)
    ann.keys("garden", Keys.ENTER)
    ann.wait(lambda: ann.see("title").text == "#garden", "the new room")
    ann.keys(Keys.ARROW_DOWN, holding=Keys.ALT)
    ann.wait(lambda: ann.see("title").text == "#lobby", "the next room")
    tab_to("room", back=True)
    ann.keys(Keys.ARROW_UP)
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert ann.run(outline) == "solid", "the focus is visible"
    ann.keys(Keys.ESCAPE)
    assert ann.focused() == "message"


def test_phone_width(room: Room, bot: Bot) -> None:
    from selenium.webdriver.common.keys import Keys

    bot.ask(type="join", room="lobby")
    ann = room.window()
    ann.phone()
    ann.enter("ann")
    bot.say("a" * 300, "https://example.org/" + "path/" * 40)
    ann.wait_for_text("a" * 300)
    widths = "[document.documentElement, document.getElementById('log')].map(e => e.scrollWidth)"
    wide = f"return Math.max(...{widths}) > innerWidth"
    assert not ann.run(wide), "nothing is wider than the phone"
    assert not ann.all("sidebar")[0].is_displayed()
    ann.click("menu")
    ann.see("sidebar")
    assert not ann.run(wide)
    ann.keys(Keys.ESCAPE)
    ann.wait(lambda: not ann.all("sidebar")[0].is_displayed(), "the drawer to close")
    assert ann.focused() == "menu"
    ann.click("people-toggle")
    ann.write_to("bot")
    ann.wait(lambda: ann.see("title").text == "bot", "the private conversation")
    ann.wait(lambda: not ann.all("people")[0].is_displayed(), "the drawer to close")


def test_rename(room: Room) -> None:
    ann = room.enter("ann")
    ann.choose("me", "menu-rename")
    box = ann.see("new-nickname")
    box.clear()
    box.send_keys("anna")
    ann.click("dialog-save")
    ann.wait(lambda: ann.all("person", name="anna"), "the new name in the list")
    ann.say("it is me")
    ann.wait(lambda: "anna" in ann.see("message-row").text, "the new name at the message")
    assert room.complaints() == []
