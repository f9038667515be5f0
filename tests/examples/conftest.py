"""A browser for the examples' pages; it must have nothing to complain of, their policy included."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.browser import Person


class Window(Person):
    """A window at an example's page, in which elements have an `id`."""

    def policy(self) -> str:
        """The Content-Security-Policy that the page came with."""
        script = """
            const done = arguments[0];
            fetch(location.href).then((reply) => done(reply.headers.get("Content-Security-Policy")), done);
        """
        return str(self.look().execute_async_script(script))

    def find(self, selector: str) -> Any:
        """The first element of this CSS selector, waited for."""
        script = "return document.querySelector(arguments[0])"
        return self.wait(lambda: self.run(script, selector), f"{selector} to be there")

    def click(self, selector: str) -> None:
        self.find(selector).click()

    def write(self, selector: str, text: str) -> None:
        """Writes into a field in place of what stands there, and presses Enter."""
        from selenium.webdriver.common.keys import Keys

        field = self.find(selector)
        field.clear()
        field.send_keys(text, Keys.ENTER)

    def reads(self, selector: str, text: str) -> None:
        """Waits until an element has this in its text."""
        self.wait(lambda: text in self.find(selector).text, f"{text!r} in {selector}")


@pytest.fixture
def browse(driver: Any) -> Iterator[Callable[[str], Window]]:
    """Opens windows of one browser, which have its cookies in common."""
    windows: list[Window] = []

    def browse(url: str) -> Window:
        windows.append(Window(driver, url))
        assert windows[-1].policy().startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
        return windows[-1]

    first = driver.current_window_handle
    driver.get_log("browser")
    yield browse
    complaints = [entry["message"] for entry in driver.get_log("browser")]
    for window in windows:
        window.leave()
    driver.switch_to.window(first)
    assert complaints == []
