"""The operators' page in a real browser, beside a real server whose traffic is known to the message."""

from __future__ import annotations

import json
import re
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.e2e.browser import AXE, Person, missing
from tests.e2e.process import ServerProcess, until
from threadchat import Client, CommandError
from threadchat.testing import StallingPeer

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

KEY = "key-of-the-operators"
ROOM = "lobby"
SATURATION = "return getComputedStyle(document.querySelector('#board main')).filter"

NOTE_CONNECTIONS = """
    [window.counted, window.rates] = [[], []];
    const note = (name, list) => new MutationObserver((all) => {
        const value = all[0].target.dataset.value;
        if (value) list.push(Number(value));
    }).observe(document.querySelector(`[data-testid=${name}]`), {attributes: true});
    note("connections", window.counted);
    note("deliveries", window.rates);
"""


@pytest.fixture
def server(serve: Callable[..., ServerProcess]) -> ServerProcess:
    impatient = ("--send-timeout", "2", "--write-timeout", "4", "--ping-interval", "0.2")
    return serve(*impatient, environ={"THREADCHAT_API_KEY": KEY})


class Operator(Person):
    """Somebody who looks at `/ops`."""

    def __init__(self, driver: Any, server: ServerProcess) -> None:
        super().__init__(driver, f"{server.url}/ops")

    def show(self, key: str) -> Operator:
        """Types in a key."""
        self.see("key").send_keys(key)
        self.click("open")
        return self

    def figure(self, testid: str) -> float:
        """A headline figure as it is, not as it is written."""
        return float(self.see(testid).get_attribute("data-value") or "nan")

    def bar(self, testid: str, name: str) -> int:
        """A bar's count; 0 where there is no such bar."""
        found = self.see(testid).find_elements("css selector", f'.bar[data-name="{name}"]')
        return int(found[0].get_attribute("data-value")) if found else 0

    def rows(self) -> list[list[str]]:
        """The table of the slowest connections, as it is written."""
        cells = "r => [...r.cells].map(c => c.textContent)"
        return list(self.run(f"return [...document.querySelectorAll('#slowest tr')].map({cells})"))

    def title(self) -> str:
        """Of the document, as the tab shows it."""
        return str(self.look().title)

    def sound(self, state: str) -> None:
        """By day and by night nothing is wrong."""
        for scheme in ("light", "dark"):
            self.theme(scheme)
            self.shoot(f"ops-{state}-{scheme}")
            if AXE.exists():
                assert not (faults := self.faults()), "\n".join([f"{state}, {scheme}", *faults])

    def brightness(self, name: str) -> int:
        """Of one of the page's colours."""
        script = "return getComputedStyle(document.body)[arguments[0]].match(/\\d+/g).map(Number)"
        return int(sum(self.run(script, name)))


@pytest.fixture
def operator(driver: Any, server: ServerProcess) -> Iterator[Operator]:
    driver.get_log("browser")
    operator = Operator(driver, server)
    yield operator
    driver.switch_to.window(driver.window_handles[0])


def complaints(driver: Any) -> list[str]:
    """What the browser has to say against the page, its policy included; a status is no complaint."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["source"] != "network"]


def test_a_wrong_key_is_told_so_and_the_right_one_lets_in(driver: Any, operator: Operator) -> None:
    operator.show("wrong")
    operator.wait(lambda: operator.see("problem").text, "a problem to be told")
    assert operator.see("problem").text.startswith("The server does not know this key.")
    assert operator.see("key").get_attribute("value") == ""
    operator.show("schlüssel")
    operator.wait(lambda: "ASCII" in operator.see("problem").text, "the letters to be told")
    operator.show(KEY)
    assert operator.see("connections").text == "0"
    operator.look().refresh()
    operator.see("connections")  # the key stays in the tab
    assert operator.run("return [localStorage.length, document.cookie]") == [0, ""]
    assert complaints(driver) == []


def test_the_figures_are_right(driver: Any, operator: Operator, server: ServerProcess) -> None:
    operator.show(KEY)
    with ExitStack() as stack:
        people = [stack.enter_context(Client(server.url, nickname=f"user {i}")) for i in range(3)]
        for person in people:
            person.join(ROOM)
        for i in range(10):
            people[0].message(ROOM, str(i))
        for _ in range(4):
            with pytest.raises(CommandError):
                people[1].direct(999, "nobody")
        operator.wait(lambda: operator.figure("connections") == 3, "three connections")
        operator.wait(lambda: operator.bar("errors", "108") == 4, "four errors")
        assert (operator.bar("threads", "reader"), operator.bar("threads", "writer")) == (3, 3)
        assert operator.bar("depths", "nothing") == 3
        assert sorted(row[1] for row in operator.rows()) == ["user 0 1", "user 1 2", "user 2 3"]
        assert {row[3] for row in operator.rows()} == {"in chat"}
        operator.wait(lambda: operator.figure("round-trip") > 0, "a ping to be answered")
        operator.wait(
            lambda: "13 events" in operator.all("messages-in")[0].find_element("xpath", "../..").text,
            "13 events",
        )
    operator.wait(lambda: operator.figure("connections") == 0, "nobody to be there")
    operator.wait(lambda: operator.bar("closes", "1000") == 3, "three closes")
    assert operator.rows() == []
    assert complaints(driver) == []


def test_one_that_reads_nothing_stands_first(driver: Any, operator: Operator, server: ServerProcess) -> None:
    operator.show(KEY)
    with Client(server.url, nickname="ann") as ann, StallingPeer(f"{server.ws}/chat") as sloth:
        sloth.ask("hello", nickname="sloth")
        sloth.ask("join", room=ROOM)
        sloth.stall()

        def stands_first() -> bool:
            ann.message(ROOM, "x" * 100_000)
            rows = operator.rows()
            return bool(rows) and rows[0][1].startswith("sloth") and operator.figure("queued") > 0

        operator.wait(stands_first, "sloth to keep something waiting")
        slow = ("3008", "3009")  # as it has one message waiting, or more
        operator.wait(lambda: sum(operator.bar("closes", code) for code in slow) == 1, "sloth to be let go")
        operator.wait(lambda: operator.title().startswith("⚠ 1 queue was full"), "the title to tell it")
    log = operator.see("log").text
    assert "closed: 300" in log
    operator.see("alerts")
    operator.sound("alert")
    assert complaints(driver) == []


def test_a_server_that_goes_and_comes_back(operator: Operator, server: ServerProcess) -> None:
    operator.show(KEY)
    operator.wait(lambda: operator.see("status").text == "live", "the page to be live")
    bright = operator.run(SATURATION)
    with Client(server.url, nickname="ann") as ann:
        ann.join(ROOM)
        operator.wait(lambda: operator.figure("connections") == 1, "ann to be counted")
    server.stop()
    operator.wait(lambda: "does not answer since" in operator.see("status").text, "its end to be noticed")
    since = re.search(r"since (\d\d:\d\d:\d\d)", operator.see("status").text)
    assert since is not None
    assert operator.title() == f"⚠ no answer since {since[1]} · threadchat: operations"
    assert (bright, operator.run(SATURATION)) == ("none", "grayscale(1)")
    operator.sound("dead")
    server.start()
    operator.wait(lambda: operator.see("status").text == "live", "the page to be live again")
    assert operator.run(SATURATION) == "none"
    assert operator.title() == "threadchat: operations"
    assert not operator.figure("deliveries") >= 1, "another process's counters make no rate"


def test_it_is_readable_on_a_phone(operator: Operator, server: ServerProcess) -> None:
    operator.phone()
    operator.sound("phone-door")
    operator.show(KEY)
    with Client(server.url, nickname="a-name-that-is-so-long-that-it-is-broken") as ann:
        ann.join(ROOM)
        button = operator.see("kick")
        for scheme in ("light", "dark"):
            operator.theme(scheme)
            assert operator.run("return document.documentElement.scrollWidth <= innerWidth")
            by_day = operator.brightness("color") < operator.brightness("backgroundColor")
            assert by_day is (scheme == "light")
        # The table is a list of cards, so that nothing has to be scrolled sideways.
        assert operator.run(
            "const s = document.querySelector('.cards').parentElement; return s.scrollWidth <= s.clientWidth"
        )
        assert (
            operator.run("return getComputedStyle(document.querySelector('.cards td'), '::before').content")
            == '"No."'
        )
        operator.run("arguments[0].scrollIntoView({block: 'center'})", button)
        operator.sound("phone")
        assert operator.run(
            "const b = arguments[0].getBoundingClientRect(); return b.right <= innerWidth && b.height >= 24",
            button,
        )


def test_without_a_key_there_is_no_such_page(driver: Any, serve: Callable[..., ServerProcess]) -> None:
    operator = Operator(driver, serve())
    assert "There is nothing at this path" in operator.look().page_source


def test_the_last_hour_and_a_kick(operator: Operator, server: ServerProcess) -> None:
    """The kick is by keyboard: rows are drawn each second, and the focus stays where it is."""
    from selenium.webdriver.common.keys import Keys

    until(lambda: len(history(server)) > 0, "a sample to be taken")
    with Client(server.url, nickname="ann") as ann:
        ann.join(ROOM)
        ann.join("kitchen")
        operator.show(KEY)
        operator.see("connections")
        line = operator.run("return document.querySelector('.tile .line').getAttribute('d')")
        assert len(re.findall("[ML]", line)) >= 2, "what was before the page was opened, and what is now"
        operator.run("document.getElementById('hour').click()")
        assert operator.run("return document.querySelector('.axis span').textContent") == "1 h ago"
        operator.wait(lambda: operator.rows() and operator.rows()[0][4] == "lobby, kitchen", "her rooms")
        operator.sound("table")
        operator.run("arguments[0].focus()", operator.see("kick"))
        seen = operator.run("return document.querySelector('[data-testid=connections]').dataset.value")
        with Client(server.url, nickname="bob") as bob:
            bob.join(ROOM)
            operator.wait(lambda: len(operator.rows()) == 2, "bob to be listed, too")
            assert (seen, operator.focused()) == ("1", "kick")
        operator.keys(Keys.ENTER)
        operator.see("kick-dialog")
        operator.sound("dialog")
        labels = operator.run("return [...document.querySelectorAll('.choice')].map(e => e.textContent)")
        assert labels == [
            "out of the chat: closes all connections of this user",
            "out of room lobby",
            "out of room kitchen",
        ]
        operator.run("document.querySelector('input[value=kitchen]').click()")
        operator.see("kick-reason").send_keys("enough")
        operator.click("kick-do")
        told = "Kicked ann (user 1): 1 session left room kitchen."
        operator.wait(lambda: operator.see("told").text == told, "it to be told")
        # Not until bob's row, who has left, is gone as well.
        operator.wait(lambda: [row[4] for row in operator.rows()] == ["lobby"], "one room to be left")
        operator.click("kick")
        operator.click("kick-do")
        operator.wait(lambda: operator.bar("closes", "3503") == 1, "ann to be out")


def test_several_workers_are_one_server(driver: Any, serve: Callable[..., ServerProcess]) -> None:
    """A poll meets one of them, and the figures are those of all."""
    if not shutil.which("redis-server"):
        pytest.skip("workers that share rooms need Redis")
    server = serve("--workers", "2", "--presence-ttl", "3", environ={"THREADCHAT_API_KEY": KEY})
    operator = Operator(driver, server).show(KEY)
    operator.see("connections")
    operator.run(NOTE_CONNECTIONS)
    with ExitStack() as stack:
        for number in range(6):
            stack.enter_context(Client(server.url, nickname=f"user {number}")).join(ROOM)
        operator.wait(lambda: operator.figure("connections") == 6, "all of them to be counted")
        operator.wait(lambda: "2 of 2" in operator.see("scope").text, "both to have answered")
        operator.wait(lambda: len(operator.rows()) == 6, "the connections of both")
        assert len({row[12] for row in operator.rows()} | {"–"}) == 3, "each is of a node"
        counted = operator.run("return window.counted")
        assert counted == sorted(counted), "no poll shows fewer than the one before"
        assert all(float(rate) < 100 for rate in operator.run("return window.rates"))
        operator.sound("nodes")


def history(server: ServerProcess) -> list[Any]:
    """What the server has kept."""
    request = urllib.request.Request(
        f"{server.url}/api/ops",
        b'{"history": true}',
        {"X-API-Key": KEY, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as reply:
        return list(json.load(reply)["history"])
