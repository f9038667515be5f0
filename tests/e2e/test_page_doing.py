"""Doing things with messages and people in a real browser: by mouse, on a phone, as a moderator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.browser import Person, go_back, missing
from tests.e2e.people import Bot, Room, port_of
from threadchat import Chat, Config

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "nothing is missing")


@pytest.fixture
def chat(room: Room) -> Iterator[Chat]:
    """A server in this process, where mod may moderate, who is known by a cookie."""
    with Chat(Config(port=0)) as chat:
        chat.authenticate(lambda environ: environ.get("HTTP_COOKIE", "").removeprefix("who=") or None)
        chat.moderates(lambda user, room: user.id == "mod")
        chat.listen()
        room.url = chat.url.rstrip("/")
        yield chat
        for person in list(room.people):
            person.leave()
            room.people.remove(person)


def known(room: Room, name: str) -> Person:
    person = room.window("/healthz")
    person.run(f"document.cookie = 'who={name}; path=/'")
    person.look().get(room.url)
    return person.enter(name)


def menu(person: Person, text: str, *testids: str) -> None:
    """Opens the menu of the message with this text, by its button, and chooses from it."""
    from selenium.webdriver import ActionChains

    row = next(row for row in person.all("message-row") if text in row.text)
    ActionChains(person.look()).move_to_element(row).perform()
    person.click("tool-more")
    person.choose(*testids)


def insert(person: Person, text: str) -> None:
    script = "const box = document.getElementById('message'); box.focus();"
    person.run(script + "document.execCommand('insertText', false, arguments[0])", text)


def reactions(person: Person) -> list[str]:
    return [each.text.replace("\n", " ") for each in person.all("reaction")]


def test_react_reply_edit_and_delete_by_mouse(room: Room) -> None:
    from selenium.webdriver.common.keys import Keys

    ann, bob = room.enter("ann"), room.enter("bob")
    ann.say("tea or coffee")
    bob.wait_for_text("tea or coffee")
    menu(bob, "tea or coffee", "menu-react")
    bob.shoot("emoji")
    bob.click("emoji")
    for person in (ann, bob):
        person.wait(lambda person=person: reactions(person) == ["👍 1"], "the reaction")
    ann.click("reaction")
    bob.wait(lambda: reactions(bob) == ["👍 2"], "both")
    bob.click("reaction")
    ann.wait(lambda: reactions(ann) == ["👍 1"], "one to be taken back")
    assert ann.see("reaction").get_attribute("aria-pressed") == "true"

    menu(bob, "tea or coffee", "menu-reply")
    assert "Reply to ann" in bob.see("context").text
    bob.say("tea")
    ann.wait_for_text("tea")
    assert "tea or coffee" in ann.see("quote").text
    ann.click("quote")
    ann.wait(lambda: ann.focused() == "message-row", "the message that it answers")

    ann.click("message")
    ann.keys(Keys.ARROW_UP)
    assert "Editing" in ann.see("context").text
    ann.shoot("editing")
    ann.keys("?", Keys.ENTER)
    bob.wait_for_text("tea or coffee?")
    bob.wait(lambda: "(edited)" in bob.all("message-row")[0].text, "it to be marked")
    assert ann.see("message").get_attribute("value") == ""

    menu(ann, "tea or coffee?", "menu-delete", "dialog-save")
    bob.wait_for_text("This message was deleted.")
    late = room.enter("cy")
    late.wait(lambda: late.texts() == ["This message was deleted.", "tea"], "what became of it")
    assert room.complaints() == []


def test_escape_leaves_an_edit_and_gives_the_draft_back(room: Room) -> None:
    from selenium.webdriver.common.keys import Keys

    ann = room.enter("ann")
    ann.say("first")
    ann.wait_for_text("first")
    ann.wait(lambda: ann.all("message-row", state="delivered"), "it to be delivered")
    menu(ann, "first", "menu-edit")
    ann.keys(" changed", Keys.ESCAPE)
    assert ann.see("message").get_attribute("value") == ""
    assert not ann.all("context")[0].is_displayed()
    assert ann.texts() == ["first"]


def test_mentions_are_completed_found_and_counted(room: Room, bot: Bot) -> None:
    from selenium.webdriver.common.keys import Keys

    ann, bob = room.enter("ann"), room.enter("bob")
    bob.open_room("garden")
    ann.open_room("garden")
    bob.click("room", name="lobby")
    ann.keys("hi @b")
    ann.see("completion")
    ann.shoot("completion")
    ann.keys(Keys.ENTER)
    assert ann.see("message").get_attribute("value") == "hi @bob "
    ann.keys(Keys.ENTER)
    bob.wait(lambda: "1 mention" in bob.see("room", name="garden").text, "the mention to be counted")
    assert bob.see("mentions").text == "@1"
    assert "tell you" in bob.see("toast").text, "notifications are offered at the first mention"
    bob.click("room", name="garden")
    bob.wait(lambda: "mentioned" in bob.all("message-row")[0].get_attribute("class"), "it to be set off")
    bob.shoot("mention")
    bob.click("room", name="lobby")
    bob.click("room", name="garden")
    bob.choose("about", "mute-room")
    bob.click("room", name="lobby")
    ann.say("nobody in particular")
    bob.wait(lambda: "1 unread" in bob.see("room", name="garden").text, "it to be unread")
    assert not bob.look().title.startswith("("), "a muted room's messages are not in the title"
    ann.say("@bob you")
    ann.keys(Keys.ENTER)
    bob.wait(lambda: bob.look().title.startswith("(1)"), "but a mention is")


def test_a_link_to_a_message_leads_there(room: Room, bot: Bot) -> None:
    bot.say(*(f"line {number}" for number in range(200)))
    ann = room.window("/#lobby/20")
    ann.enter("ann")
    ann.wait(lambda: "line 19" in ann.texts(), "the message")
    ann.wait(lambda: ann.focused() == "message-row", "it to have the focus")
    assert ann.run("return document.activeElement.textContent").endswith("line 19")
    ann.click("jump")
    ann.wait(lambda: ann.texts()[-1] == "line 199", "the newest")


def test_a_moderator_mutes_kicks_deletes_and_closes(room: Room, chat: Chat) -> None:
    mod = known(room, "mod")
    ann = room.enter("ann", url=room.url.replace("127.0.0.1", "localhost"))  # a cookie is a host's
    ann.say("hello")
    mod.wait_for_text("hello")
    mod.wait(lambda: "ann" in mod.see("people-list").text, "ann to be listed")
    mod.click("person", name="ann")
    mod.shoot("moderator")
    mod.click("profile-mute")
    mod.see("reason").send_keys("caps lock")
    assert "Until" in mod.see("until").text
    mod.shoot("sanction")
    mod.click("dialog-save")
    mod.wait(lambda: not mod.all("dialog-save"), "it to be done")
    ann.say("HELLO")
    ann.wait(lambda: "caps lock" in ann.see("failed").text, "the reason")
    menu(mod, "hello", "menu-delete", "dialog-save")
    ann.wait_for_text("This message was deleted.")
    mod.click("person", name="ann")
    mod.click("profile-kick")
    mod.see("reason").send_keys("calm down")
    mod.click("dialog-save")
    ann.wait(lambda: "kicked out" in ann.see("notice").text, "the notice")
    ann.shoot("kicked")
    assert not ann.all("people")[0].is_displayed(), "who is out sees nobody"
    mod.choose("about", "close-room")
    mod.click("dialog-save")
    mod.wait(lambda: "closed" in mod.see("notice").text, "it to be closed")


def test_nobody_else_is_offered_to_moderate(room: Room, chat: Chat) -> None:
    room.url = room.url.replace("127.0.0.1", "localhost")  # where mod's cookie is not known
    ann, bob = room.enter("ann"), room.enter("bob")
    bob.say("hello")
    ann.wait_for_text("hello")
    ann.click("person", name="bob")
    ann.see("profile-write")
    assert not ann.all("profile-kick")
    ann.click("dialog-cancel")
    menu(ann, "hello", "menu-copy")
    ann.choose("about")
    ann.see("invite")
    assert not ann.all("close-room")


def test_names_that_cannot_be_are_refused_in_words(room: Room) -> None:
    from selenium.webdriver.common.keys import Keys

    ann = room.window()
    ann.see("nickname").send_keys("   ", Keys.ENTER)
    ann.wait(lambda: "at least one character" in ann.see("welcome-problem").text, "why")
    ann.shoot("welcome-problem")
    ann.see("nickname").clear()
    ann.see("nickname").send_keys("x" * 65)
    ann.wait(lambda: "at most 64" in ann.see("welcome-problem").text, "why, before anything is cut")
    assert len(str(ann.see("nickname").get_attribute("value"))) == 65
    ann.keys(Keys.BACKSPACE, Keys.ENTER)
    ann.arrived()


def test_rooms_are_filtered_created_left_and_never_rejoined_by_going_back(room: Room, bot: Bot) -> None:
    bot.ask(type="join", room="kitchen")
    ann = room.enter("ann")
    ann.open_room("garden")
    ann.see("room-name").send_keys("gar")
    ann.wait(lambda: not ann.all("room", name="lobby"), "the others to be filtered out")
    assert "create #gar" in ann.see("room-hint").text
    ann.shoot("filter")
    ann.see("room-name").clear()
    ann.see("room-name").send_keys(" ")
    ann.click("room", name="lobby")
    ann.click("room", name="garden")
    me = ann.see("person", name="ann").get_attribute("data-user")
    ann.click("leave")
    ann.wait(lambda: ann.see("title").text == "#lobby", "the other room")
    for _ in range(2):  # to the lobby, and to where one was in the garden before that
        go_back(ann.look())
        ann.wait(lambda: ann.run("return location.hash") == "#lobby", "the address of where one is")
        assert not ann.all("room", name="garden")
        assert ann.see("title").text == "#lobby"
    assert "garden" not in [room["name"] for room in bot.ask(type="rooms")["rooms"] if room["people"]]
    ann.click("leave")
    ann.wait(lambda: ann.see("title").text == "No room open", "no room")
    go_back(ann.look())
    ann.open_room("shed")
    assert not ann.all("room", name="lobby"), "the last room is left, too"
    assert ann.see("person", name="ann").get_attribute("data-user") == me, "and nobody signed out"


def test_who_signs_out_is_somebody_new(room: Room) -> None:
    ann = room.enter("ann")
    me = ann.see("person", name="ann").get_attribute("data-user")
    kept = "return JSON.stringify(Object.values(sessionStorage)).match(/resume[^:]*:[^\\w]*([\\w.-]+)/)[1]"
    resume = ann.wait(lambda: ann.run(kept), "what proves who one is")
    before = Bot(port_of(room.url), "ann", resume=resume)
    assert (str(before.user), before.hello["resumed"]) == (me, True)
    before.close()
    ann.choose("me", "menu-sign-out")
    ann.see("nickname")
    assert ann.run("return [localStorage.getItem('threadchat.nickname'), sessionStorage.length]") == [None, 0]
    ann.enter("ann")
    assert ann.see("person", name="ann").get_attribute("data-user") != me
    late = Bot(port_of(room.url), "ann", resume=resume)
    assert str(late.user) != me, "what proved it before is good for nothing"
    late.close()


def test_who_is_blocked_is_folded_and_cannot_write_alone(room: Room) -> None:
    ann, bob = room.enter("ann"), room.enter("bob")
    bob.say("hello")
    ann.wait_for_text("hello")
    menu(ann, "hello", "block")
    assert "can no longer write to you privately" in ann.see("block-sure").text
    ann.click("dialog-save")
    ann.see("unfold-blocked")
    bob.say("more")
    ann.wait(lambda: "2 messages" in ann.see("unfold-blocked").text, "both to be folded")
    assert ann.texts() == []
    assert ann.look().title == "#lobby · threadchat", "they count for nothing"
    bob.write_to("ann")
    bob.say("psst")
    assert "not online" in bob.see("failed").text
    ann.click("unfold-blocked")
    ann.wait_for_text("more")
    assert ann.focused() == "message-row"
    ann.click("person", name="bob")
    assert "You block bob" in ann.see("profile").text
    ann.click("profile-write")
    assert "You block bob" in ann.see("notice").text
    ann.choose("about", "block")
    ann.see("message")
    bob.click("retry")
    ann.wait_for_text("psst")


def test_settings(room: Room) -> None:
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

    ann = room.enter("ann")
    ground = "return getComputedStyle(document.body).backgroundColor"
    ann.theme("light")
    day = ann.run(ground)
    ann.choose("me", "menu-settings")
    Select(ann.see("theme")).select_by_value("dark")
    Select(ann.see("enter-key")).select_by_value("break")
    ann.shoot("settings")
    ann.click("dialog-save")
    ann.wait(lambda: not ann.all("theme"), "them to be saved")
    night = ann.run(ground)
    assert night != day
    ann.see("message").send_keys("two", Keys.ENTER, "lines")
    ann.keys(Keys.ENTER, holding=Keys.CONTROL)
    ann.wait_for_text("two\nlines")
    ann.look().refresh()
    ann.arrived()
    assert ann.run(ground) == night, "they outlive a reload"


def test_an_input_methods_enter_sends_nothing(room: Room) -> None:
    ann = room.enter("ann")
    press = """
        const box = document.getElementById("message");
        box.focus();
        box.value = "にほん";
        box.dispatchEvent(new Event("input"));
        const event = (init) => new KeyboardEvent("keydown", {bubbles: true, cancelable: true, ...init});
        const key = (init) => box.dispatchEvent(event(init));
        return [key({key: "Enter", isComposing: true}), key({key: "Enter", keyCode: 229}),
            key({key: "Process", keyCode: 229})];
    """
    assert ann.run(press) == [True, True, True], "the browser gets these keys"
    ann.choose("me", "menu-rename")
    escape = """
        const init = {key: "Escape", keyCode: 229, bubbles: true};
        return document.activeElement.dispatchEvent(new KeyboardEvent("keydown", init));
    """
    assert ann.run(escape)
    ann.see("new-nickname")
    ann.click("dialog-cancel")
    assert ann.texts() == []
    ann.see("message").send_keys("\ue007")
    ann.wait_for_text("にほん")


def test_on_a_phone_enter_makes_a_line_and_a_button_sends(room: Room) -> None:
    ann = room.window()
    ann.phone()
    ann.emulate("Emulation.setTouchEmulationEnabled", enabled=True)
    ann.enter("ann")
    ann.wait(lambda: ann.see("message").get_attribute("enterkeyhint") == "enter", "Enter to begin lines")
    ann.see("message").send_keys("one", "\ue007", "two")
    ann.click("send")
    ann.wait_for_text("one\ntwo")
    ann.click("message-row")
    ann.shoot("tools-phone")
    ann.click("tool-more")
    ann.see("menu-reply")
    ann.shoot("menu-phone")


def test_what_is_written_into_silence_is_shown_and_says_that_it_waits(room: Room, cable: object) -> None:
    ann = room.enter("ann", url=cable.url)  # type: ignore[attr-defined]
    cable.deaf.set()  # type: ignore[attr-defined]
    ann.say("anybody?")
    ann.wait_for_text("anybody?")
    ann.wait(lambda: "Waiting" in ann.see("message-row").text, "it to say that it waits")


def test_a_hidden_conversation_keeps_what_was_said(room: Room) -> None:
    ann, bob = room.enter("ann"), room.enter("bob")
    ann.write_to("bob")
    ann.say("psst")
    ann.see("message-row", state="delivered")
    ann.click("leave")
    ann.wait(lambda: not ann.all("direct"), "it to be hidden")
    bob.click("direct", name="ann")
    bob.say("yes?")
    ann.click("direct", name="bob")
    ann.wait(lambda: ann.texts() == ["psst", "yes?"], "both")


def test_what_is_read_in_one_tab_is_read_in_the_other_and_after_days(room: Room, chat: Chat) -> None:
    first, second = known(room, "mod"), known(room, "mod")
    first.open_room("garden")
    second.open_room("garden")
    ann = room.enter("ann", url=room.url.replace("127.0.0.1", "localhost"))
    ann.say("news")
    for tab in (first, second):
        tab.wait(lambda tab=tab: "1 unread" in tab.see("room", name="lobby").text, "one unread")
    first.click("room", name="lobby")
    second.wait(lambda: "unread" not in second.see("room", name="lobby").text, "it to be read here, too")
    for tab in (first, second):
        tab.leave()
        room.people.remove(tab)
    ann.say("while nobody looked")
    later = known(room, "mod")
    later.wait_for_text("while nobody looked")
    later.see("new")


def test_a_new_tab_has_the_private_conversations_that_the_inbox_keeps(room: Room, chat: Chat) -> None:
    mod = known(room, "mod")
    localhost = room.url.replace("127.0.0.1", "localhost")
    ann = room.window("/healthz", localhost)
    ann.run("document.cookie = 'who=ann; path=/'")
    ann.look().get(localhost)
    ann.enter("ann")
    mod.write_to("ann")
    assert "The server keeps it" in mod.see("log").text
    mod.say("psst")
    ann.click("direct", name="mod")
    ann.say("yes?")
    mod.wait_for_text("yes?")
    again = known(room, "mod")
    again.click("direct", name="ann")
    again.wait(lambda: again.texts() == ["psst", "yes?"], "both, in a tab that is new")
    ann.run("document.cookie = 'who=; path=/; max-age=0'")


def test_the_operator_gives_the_page_its_name_color_and_rooms(room: Room) -> None:
    with Chat(Config(port=0, page_title="Our garden", page_color="#7a3ea8", page_rooms="beds,shed")) as chat:
        chat.listen()
        ann = room.window(url=chat.url.rstrip("/"))
        ann.see("nickname")
        ann.shoot("operator-welcome")
        assert "Our garden" in ann.see("welcome").text
        ann.enter("ann")
        assert ann.see("title").text == "#beds"
        assert ann.look().title == "#beds · Our garden"
        accent = ann.run("return getComputedStyle(document.getElementById('send')).backgroundColor")
        ann.see("message").send_keys("x")
        assert accent != ann.run("return getComputedStyle(document.getElementById('send')).backgroundColor")
        ann.shoot("operator")
        ann.leave()
        room.people.remove(ann)
    assert room.complaints() == []
