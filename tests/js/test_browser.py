"""threadchat.js in a real browser: the back/forward cache, duplicated tabs, a network that goes and comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.browser import Cable, Person, go_back, missing
from tests.e2e.process import ServerProcess
from tests.e2e.talker import Talker

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "nothing is missing")

OPEN = """
    const [nickname, done] = arguments;
    import("/threadchat.js").then(({connect}) => {
        window.chat = connect("/chat", {nickname});
        window.states = [];
        window.heard = [];
        window.returned = [];
        chat.on("state", ({phase}) => states.push(phase));
        addEventListener("pageshow", ({persisted}) => returned.push(persisted));
        chat.room("garden").on("message", ({message}) => heard.push(message));
        window.kept = [];
        for (const {done} of chat.room("garden").waiting)
            done.then(() => kept.push("sent"), ({code}) => kept.push(code));
        chat.room("garden").join().then(() => done(), (error) => done(String(error)));
        if (!nickname) done();
    }, (error) => done(String(error)));
"""


NEVER_AGAIN = "Math.random = () => 10_000;"
"""Makes the pause before the next attempt last for hours, so that nothing depends on who is first."""


class Page(Person):
    """A document of the server's own, below its policy, in which the client is used by hand."""

    def open(self, nickname: str | None) -> Page:
        """Comes in and joins; without a nickname as whoever the tab is, and does not wait."""
        assert self.look().execute_async_script(OPEN, nickname) is None
        return self

    def phase(self, wanted: str) -> None:
        self.wait(lambda: self.run("return chat.state.phase") == wanted, f"being {wanted}")

    def hears(self, *texts: str) -> None:
        self.wait(lambda: self.run("return heard") == list(texts), f"{texts}, not {self.run('return heard')}")

    def say(self, text: str) -> None:
        """Says it, and notes how that ended in `ends`."""
        self.run(
            "window.ends ??= [];"
            "const number = ends.push('pending') - 1;"
            "const end = (how) => (ends[number] = how);"
            "chat.room('garden').message(arguments[0]).then(() => end('sent'), ({code}) => end(code));",
            text,
        )

    def waiting(self) -> list[str]:
        return list(self.run("return chat.room('garden').waiting.map(({message}) => message)"))


@pytest.fixture
def pages(driver: Any) -> Iterator[list[Page]]:
    """Closes the windows that a test opened; the browser must have had nothing to complain of."""
    first = driver.current_window_handle
    driver.get_log("browser")
    pages: list[Page] = []
    yield pages
    for page in pages:
        page.leave()
    driver.switch_to.window(first)
    complaints = [entry["message"] for entry in driver.get_log("browser")]
    assert [text for text in complaints if "ERR_CONNECTION" not in text and "WebSocket" not in text] == []


@pytest.fixture
def cable(chat_server: ServerProcess) -> Iterator[Cable]:
    cable = Cable(chat_server.port)
    yield cable
    cable.close()


def open_page(driver: Any, url: str, pages: list[Page]) -> Page:
    page = Page(driver, f"{url}/threadchat.d.ts")
    pages.append(page)
    return page.open("ann")


def test_the_back_forward_cache_takes_a_page_that_lets_go(
    driver: Any, chat_server: ServerProcess, pages: list[Page]
) -> None:
    ann = open_page(driver, chat_server.url, pages)
    with Talker(chat_server.ws) as bob:
        bob.ask("hello", nickname="bob")
        bob.ask("message", room="garden", message="1")
        ann.hears("1")
        driver.get(f"{chat_server.url}/page/favicon.svg")
        ann.wait(lambda: bob.ask("who", room="garden")["users"] == [], "her to be gone from the room")
        bob.ask("message", room="garden", message="2")
        go_back(driver)
        ann.hears("1", "2")
        assert ann.run("return returned") == [True], "it was the same document, from the cache"
        states = ann.run("return states")
        assert (states[0], states[-1]) == ("online", "online")
        assert "ended" not in states
        assert len(bob.ask("who", room="garden")["users"]) == 1


def test_of_a_duplicated_tab_one_sends_what_waits(
    driver: Any, chat_server: ServerProcess, cable: Cable, pages: list[Page]
) -> None:
    ann = open_page(driver, cable.url, pages)
    ann.run(NEVER_AGAIN)
    cable.cut()
    ann.phase("away")
    ann.say("1")
    ann.say("2")
    stored = 'return Object.values(sessionStorage).some((text) => text.includes(\'"message":"2"\'))'
    ann.wait(lambda: ann.run(stored), "what waits to be stored")
    cable.mend()
    copy = ann.duplicate()
    pages.append(copy)
    copy.open(None)
    copy.phase("online")
    copy.wait(lambda: copy.run("return kept") == ["taken", "taken"], "the copy to let go of it")
    assert copy.waiting() == []
    ann.run("dispatchEvent(new Event('online'))")
    ann.phase("online")
    ann.wait(lambda: ann.run("return ends") == ["sent", "sent"], "the first tab to send it")
    with Talker(chat_server.ws) as bob:
        bob.ask("hello", nickname="bob")
        events = bob.ask("history", room="garden")["events"]
        assert [event["message"] for event in events if event["type"] == "message"] == ["1", "2"]
    assert copy.run("return chat.me.user") == ann.run("return chat.me.user")
    assert copy.run("return chat.me.session") != ann.run("return chat.me.session")
    copy.say("3")
    ann.hears("1", "2", "3")


def test_a_reloaded_tab_goes_on(
    driver: Any, chat_server: ServerProcess, cable: Cable, pages: list[Page]
) -> None:
    ann = open_page(driver, cable.url, pages)
    user = ann.run("return chat.me.user")
    ann.run(NEVER_AGAIN)
    cable.cut()
    ann.phase("away")
    ann.say("once")
    cable.mend()
    ann.run("location.reload()")
    ann.wait(lambda: ann.run("return document.readyState === 'complete' && !window.chat"), "the new page")
    ann.open(None)
    ann.phase("online")
    ann.hears("once")
    ann.wait(lambda: ann.run("return kept") == ["sent"], "its reply")
    assert ann.waiting() == []
    assert ann.run("return [chat.me.user, chat.me.same]") == [user, True]


def test_online_and_offline_are_heeded(driver: Any, cable: Cable, pages: list[Page]) -> None:
    ann = open_page(driver, cable.url, pages)
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    ann.run("window.setTimeout = () => 0")  # nothing is tried again by itself
    cable.cut()
    ann.phase("away")
    cable.mend()
    ann.emulate("Network.enable")
    ann.emulate("Network.emulateNetworkConditions", offline=True, **network)
    ann.wait(lambda: not ann.run("return navigator.onLine"), "being offline")
    assert ann.run("return chat.state.phase") == "away"
    ann.emulate("Network.emulateNetworkConditions", offline=False, **network)
    ann.phase("online")
