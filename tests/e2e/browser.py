"""Drives the page as people do: a headless Chromium, a window for each person, a cable that can be cut."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
AXE = Path(sys.prefix) / "node/node_modules/axe-core/axe.min.js"  # where scripts/test puts it
NOTE_BANNERS = """
    const banner = document.getElementById("banner");
    window.banners = [];
    new MutationObserver(() => window.banners.push(banner.dataset.state)).observe(banner, {attributes: true});
"""
PAGE_SECONDS = 60  # until a page that does not load fails its test; the driver's own limit is five minutes
WAIT = 40  # seconds until a condition that does not come true fails its test; the page pauses up to 15


def missing() -> str:
    """What this machine lacks for browser tests, or an empty string."""
    lacks = [
        name
        for name, there in [
            ("the program chromium", CHROMIUM),
            ("the program chromedriver", DRIVER),
            ("the package selenium", importlib.util.find_spec("selenium")),
        ]
        if not there
    ]
    return f"browser tests need {' and '.join(lacks)}" if lacks else ""


@contextlib.contextmanager
def chromium(profile: Path, *flags: str) -> Iterator[Any]:
    """A headless browser with an empty profile and these flags more; quits at the end."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in [
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "disable-dev-shm-usage",
        "window-size=1280,800",
        f"user-data-dir={profile}",
        *flags,
    ]:
        options.add_argument(f"--{flag}")
    driver = Chrome(options=options, service=Service(executable_path=DRIVER))
    driver.set_page_load_timeout(PAGE_SECONDS)
    try:
        yield driver
    finally:
        driver.quit()


def go_back(driver: Any) -> None:
    """Goes back in the history of the window; wait afterwards for what the page then shows.

    Now and then the driver does not notice that a page came out of the browser's cache, and waits for it.
    """
    from selenium.common.exceptions import TimeoutException

    with contextlib.suppress(TimeoutException):
        driver.back()


class Person:
    """Somebody at a window of their own, which means with a session of their own.

    `window` is the handle of one that there is; without it, one is opened at `url`.
    """

    def __init__(self, driver: Any, url: str = "", *, window: str = "") -> None:
        self.driver = driver
        self._window = window
        if not window:
            driver.switch_to.new_window("window")
            self._window = driver.current_window_handle
            driver.get(url)

    def duplicate(self) -> Self:
        """Another tab with a copy of this one's storage, as a browser makes it."""
        before = set(self.look().window_handles)
        self.run("window.open(location.href)")
        [handle] = set(self.driver.window_handles) - before
        return type(self)(self.driver, window=handle)

    # --- looking ---

    def look(self) -> Any:
        """The driver, turned to this person's window."""
        self.driver.switch_to.window(self._window)
        return self.driver

    def all(self, testid: str, **data: str) -> list[Any]:
        """The elements with this `data-testid`, or id, and these other `data-` attributes, shown or not."""
        conditions = "".join(f'[data-{name}="{value}"]' for name, value in data.items())
        selector = f'[data-testid="{testid}"]{conditions}, #{testid}{conditions}'
        return list(self.look().find_elements("css selector", selector))

    def see(self, testid: str, **data: str) -> Any:
        """Waits until such an element is displayed, and returns it."""
        return self.wait(
            lambda: next((element for element in self.all(testid, **data) if element.is_displayed()), None),
            f"{testid} {data or ''} to be displayed",
        )

    def click(self, testid: str, **data: str) -> None:
        """Clicks on such an element once it is displayed; on the next one if it is drawn anew meanwhile."""
        self.wait(lambda: not self.see(testid, **data).click(), f"a click on {testid} {data or ''}")

    def texts(self) -> list[str]:
        """The texts of all messages in the open conversation, from the oldest to the newest."""
        script = "return [...document.querySelectorAll('[data-testid=text]')].map(e => e.textContent)"
        return list(self.look().execute_script(script))

    def run(self, script: str, *arguments: object) -> Any:
        """Runs a script in the page and returns what it returns."""
        return self.look().execute_script(script, *arguments)

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Waits until the condition is true; `what` completes "waited for"."""
        from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
        from selenium.webdriver.support.ui import WebDriverWait

        # A row that was drawn anew between finding and reading it is simply looked for again.
        waiting = WebDriverWait(self.look(), WAIT, 0.05, [StaleElementReferenceException])
        try:
            return waiting.until(lambda _: condition())
        except TimeoutException:
            shown = self.run("return `${location.href}: ${document.body.innerText}`")
            raise TimeoutException(f"waited for {what}; the page showed {shown[:2000]!r}") from None

    def note_banners(self) -> None:
        """From now on remembers each state of the banner, which may pass before a slow machine looks."""
        self.run(NOTE_BANNERS)

    def wait_for_banner(self, state: str) -> None:
        """Waits until the banner is or was in this state since `note_banners`."""
        self.wait(lambda: state in self.run("return window.banners"), f"the banner to say {state}")

    def wait_for_text(self, text: str) -> None:
        self.wait(lambda: text in self.texts(), f"the message {text!r}, there are {self.texts()[-5:]}")

    # --- doing ---

    def enter(self, nickname: str) -> Person:
        """Chooses a nickname and waits until the message box is there and the room is joined."""
        box = self.see("nickname")
        box.clear()
        box.send_keys(nickname)
        self.click("enter")
        return self.arrived()

    def arrived(self) -> Person:
        """Waits until the open room is joined."""
        self.see("message")
        self.wait(lambda: "here" in self.see("subtitle").text, "the room to be joined")
        return self

    def open_room(self, name: str) -> None:
        """Joins or creates a room by its name, and waits until it is open."""
        from selenium.webdriver.common.keys import Keys

        self.see("room-name").send_keys(name, Keys.ENTER)
        self.wait(lambda: self.see("title").text == f"#{name}", f"#{name} to be open")
        self.arrived()

    def write_to(self, name: str) -> None:
        """Opens the private conversation with somebody who is in the room."""
        self.click("person", name=name)
        self.click("profile-write")

    def choose(self, *testids: str) -> None:
        """Clicks on these elements, one after the other: a button, then what its menu shows."""
        for testid in testids:
            self.click(testid)

    def say(self, text: str) -> None:
        """Writes into the message box and presses Enter."""
        from selenium.webdriver.common.keys import Keys

        self.see("message").send_keys(text, Keys.ENTER)

    def keys(self, *keys: str, holding: str = "") -> None:
        """Presses keys one after the other, wherever the focus is; `holding` is held down meanwhile."""
        from selenium.webdriver import ActionChains

        actions = ActionChains(self.look())
        if holding:
            actions.key_down(holding).send_keys(*keys).key_up(holding).perform()
        else:
            actions.send_keys(*keys).perform()

    def focused(self) -> str:
        """The `data-testid` or id of the element that has the focus."""
        script = "const e = document.activeElement; return e.dataset.testid || e.id || e.tagName"
        return str(self.run(script))

    def emulate(self, command: str, **parameters: object) -> None:
        """A command of the DevTools protocol, for this window."""
        self.look().execute_cdp_cmd(command, parameters)

    def phone(self) -> None:
        """Makes this window as wide as a small phone."""
        metrics = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
        self.emulate("Emulation.setDeviceMetricsOverride", **metrics)

    def theme(self, scheme: str) -> None:
        """The system's colours: "light" or "dark"."""
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        colors = {"name": "prefers-color-scheme", "value": scheme}
        self.emulate("Emulation.setEmulatedMedia", features=[colors, still])

    def shoot(self, name: str) -> None:
        """Keeps a picture in the folder that THREADCHAT_SHOTS names, if it names one."""
        if folder := os.environ.get("THREADCHAT_SHOTS"):
            self.look().save_screenshot(str(Path(folder) / f"{name}.png"))

    def faults(self, *rules: str, part: str = "html") -> list[str]:
        """What axe-core, by these rules or by all, finds wrong in a part of the page."""
        driver = self.look()
        if not driver.execute_script("return 'axe' in window"):
            driver.execute_script(AXE.read_text())
        options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
        script = "axe.run(arguments[0], arguments[1]).then(arguments[2])"
        found = driver.execute_async_script(script, part, options)["violations"]
        return [
            f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
            for each in found
            for node in each["nodes"]
        ]

    def leave(self) -> None:
        """Closes the window."""
        self.look().close()


class Cable:
    """A TCP relay in front of a server, to be cut as networks are: without a goodbye."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()  # guards `_pairs` and `_up`
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._up = True
        self.deaf = threading.Event()  # set: what the server says is swallowed
        threading.Thread(target=self._accept, name="cable", daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Ends every connection; new ones are refused until `mend`."""
        with self._lock:
            self._up = False
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def inject(self, frame: bytes) -> None:
        """Says something to every browser in the server's name; the server itself is mute until `mend`."""
        self.deaf.set()
        with self._lock:
            pairs = list(self._pairs)
        for near, _ in pairs:
            with contextlib.suppress(OSError):
                near.sendall(frame)

    def mend(self) -> None:
        """Lets new connections through again."""
        self.deaf.clear()
        with self._lock:
            self._up = True

    def close(self) -> None:
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes `_accept`, which a close alone does not
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._run(self._carry, near)

    def _run(self, body: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=body, args=arguments, name="cable", daemon=True)
        thread.start()
        return thread

    def _carry(self, near: socket.socket) -> None:
        """Carries one connection in both directions, until either side or `cut` ends it."""
        with near, contextlib.suppress(OSError):
            far = socket.create_connection(("127.0.0.1", self._server_port))
            with far:
                with self._lock:
                    if not self._up:
                        return
                    self._pairs.append((near, far))
                back = self._run(self._relay, far, near, self.deaf)
                self._relay(near, far, threading.Event())
                back.join()

    @staticmethod
    def _relay(source: socket.socket, target: socket.socket, deaf: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not deaf.is_set():
                    target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
