"""The operators' page in a real browser, beside a real server whose traffic is known to the message."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.e2e.browser import Person, missing
from tests.e2e.process import ServerProcess
from threadchat import Client, CommandError
from threadchat.testing import StallingPeer

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

KEY = "key-of-the-operators"
ROOM = "lobby"


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
        self.see("open").click()
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
    assert complaints(driver) == []


def test_a_server_that_goes_and_comes_back(operator: Operator, server: ServerProcess) -> None:
    operator.show(KEY)
    operator.wait(lambda: operator.see("status").text == "live", "the page to be live")
    server.stop()
    operator.wait(lambda: "does not answer" in operator.see("status").text, "its end to be noticed")
    server.start()
    operator.wait(lambda: operator.see("status").text == "live", "the page to be live again")


def test_it_is_readable_on_a_phone(operator: Operator) -> None:
    operator.phone()
    operator.show(KEY)
    operator.see("connections")
    for scheme in ("light", "dark"):
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        operator.emulate("Emulation.setEmulatedMedia", features=media)
        assert operator.run("return document.documentElement.scrollWidth <= innerWidth")
        by_day = operator.brightness("color") < operator.brightness("backgroundColor")
        assert by_day is (scheme == "light")


def test_without_a_key_there_is_no_such_page(driver: Any, serve: Callable[..., ServerProcess]) -> None:
    operator = Operator(driver, serve())
    assert "There is nothing at this path" in operator.look().page_source
