"""Tokens from end to end: made by the command line, shown by client, terminal and page to a real server."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.browser import Person, chromium, missing
from tests.e2e.process import PATIENCE, ServerProcess, command, environment
from threadchat import connect
from threadchat.client import Client
from threadchat.errors import CommandError, ConnectionClosed, HandshakeRefused

KEY = {"THREADCHAT_TOKEN_KEY": "a-secret-that-is-long-enough-0123456789"}
Serve = Callable[..., ServerProcess]


def run(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """`python -m threadchat` to its end."""
    return subprocess.run(
        command(*arguments),
        input=text,
        env=environment(KEY),
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
        check=False,
    )


def make_token(*arguments: str) -> str:
    done = run("token", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    token, newline, rest = done.stdout.partition("\n")
    assert (newline, rest) == ("\n", "")
    return token


@pytest.fixture
def server(serve: Serve) -> ServerProcess:
    """Nobody comes in without a token."""
    return serve("--anonymous", "no", environ=KEY)


def test_the_client_shows_a_token_and_a_newer_one(server: ServerProcess) -> None:
    first = make_token("--user", "7", "--nickname", "ann", "--rooms", "lobby:rw,news:r", "--expires", "600")
    with Client(server.url, token=first) as ann:
        assert (ann.user, ann.nickname) == (7, "ann")
        assert ann.expires is not None
        assert 0 < ann.expires - time.time() <= 600
        ann.join("lobby")
        ann.message("lobby", "hi")
        for forbidden in ("news", "ops"):
            with pytest.raises(CommandError, match=f"you may not write in room {forbidden}"):
                ann.message(forbidden, "hi")
        refreshed = ann.refresh(make_token("--user", "7", "--rooms", "*", "--expires", "900"))
        assert refreshed.expires == ann.expires
        assert ann.message("ops", "hi").offset == 1
        with pytest.raises(CommandError, match="of user 8"):
            ann.refresh(make_token("--user", "8"))


def test_who_has_no_token_or_a_bad_one(server: ServerProcess) -> None:
    with pytest.raises(CommandError, match="without a token"):
        Client(server.url, nickname="eve")
    with pytest.raises(ConnectionClosed, match="3500"):
        Client(server.url, token="nonsense")
    with pytest.raises(HandshakeRefused) as refused:
        Client(server.url, headers={"Authorization": "Bearer nonsense"})
    assert refused.value.status == 401
    with Client(server.url, headers={"Authorization": f"Bearer {make_token('--user', '7')}"}) as ann:
        assert ann.user == 7
    assert "a token was refused: it is not a signed JWT" in server.log()
    assert "nonsense" not in server.log()
    for path in ("/", "/ws"):
        with pytest.raises(HandshakeRefused):
            connect(server.ws + path)


def test_the_terminal_shows_a_token(server: ServerProcess) -> None:
    token = make_token("--user", "7", "--nickname", "ann")
    said = run("connect", server.url, "--room", "ops", "--token", token, text="one\ntwo\n")
    assert (said.returncode, said.stderr) == (0, "")
    heard = run("tail", server.url, "--room", "ops", "--token", token, "--since", "0", "--count", "2")
    assert heard.returncode == 0
    assert heard.stdout.count("ann") == 2
    refused = run("tail", server.url, "--room", "ops", "--token", "x")
    assert (refused.returncode, "3500" in refused.stderr) == (1, True)
    refused = run("connect", server.url, "--room", "ops", text="one\n")
    assert (refused.returncode, "101" in refused.stderr) == (1, True)


def test_keys_are_rotated_under_a_running_server(serve: Serve, tmp_path: Path) -> None:
    from tests.server.token_helpers import private_key, public_pem, token

    path = tmp_path / "keys.pem"
    path.write_bytes(public_pem(private_key()))
    server = serve("--token-keys", str(path))
    soon = time.time() + 600
    with Client(server.url, token=token(private_key(), "RS256", exp=soon)) as ann:
        assert ann.user == 7
    path.write_bytes(public_pem(private_key("second")))
    with Client(server.url, token=token(private_key("second"), "RS256", exp=soon)) as ann:
        assert ann.user == 7
    with pytest.raises(ConnectionClosed, match="3500"):
        Client(server.url, token=token(private_key(), "RS256", exp=soon))


@pytest.mark.skipif(bool(missing()), reason=missing() or "nothing is missing")
def test_the_page_takes_a_token_from_its_address(server: ServerProcess, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile") as driver:
        first: Any = driver.current_window_handle
        stranger = Person(driver, server.url + "/")
        stranger.see("nickname").send_keys("eve")
        stranger.click("enter")
        stranger.wait(lambda: "needs a token" in stranger.see("welcome-problem").text, "the page to say so")
        ann = Person(driver, f"{server.url}/#token={make_token('--user', '7', '--nickname', 'ann')}&garden")
        ann.arrived()
        assert ann.see("title").text == "#garden"
        assert "token" not in ann.look().current_url
        assert ann.look().current_url.endswith("/#garden")
        ann.say("hello")
        ann.look().refresh()
        ann.arrived()
        ann.wait_for_text("hello")
        eve = Person(driver, f"{server.url}/healthz")
        follow(eve, f"{server.url}/#token=nonsense", "somebody (user unknown)", agree=True)
        eve.see("nickname").send_keys("eve")
        eve.click("enter")
        eve.wait(lambda: "did not accept this page's token" in eve.see("banner").text, "the page to say so")
        for person in (stranger, ann, eve):
            person.leave()
        driver.switch_to.window(first)


def follow(person: Person, url: str, named: str, *, agree: bool) -> None:
    """Follows a link with a token, which the page asks about."""
    from selenium.common.exceptions import UnexpectedAlertPresentException
    from selenium.webdriver.support.expected_conditions import alert_is_present
    from selenium.webdriver.support.ui import WebDriverWait

    driver = person.look()
    with contextlib.suppress(UnexpectedAlertPresentException):
        driver.execute_script("location.href = arguments[0]", url)
    WebDriverWait(driver, PATIENCE).until(alert_is_present())
    assert named in driver.switch_to.alert.text
    driver.switch_to.alert.accept() if agree else driver.switch_to.alert.dismiss()


@pytest.mark.skipif(bool(missing()), reason=missing() or "nothing is missing")
def test_a_link_makes_nobody_somebody_else_unasked(server: ServerProcess, tmp_path: Path) -> None:
    def link(user: str, nickname: str) -> str:
        return f"{server.url}/#token={make_token('--user', user, '--nickname', nickname)}"

    with chromium(tmp_path / "profile") as driver:
        first: Any = driver.current_window_handle
        ann = Person(driver, link("7", "ann"))
        ann.arrived()
        ann.say("hello")
        follow(ann, link("666", "ann"), "ann (user 666)", agree=False)
        ann.arrived()
        ann.wait_for_text("hello")
        assert "token" not in ann.look().current_url
        ann.run("location.href = arguments[0]", link("7", "anna"))  # of the same user: a newer one
        ann.wait(lambda: "anna" in ann.see("me").text, "the page to reload itself, with the newer token")
        ann.arrived()
        other = Person(driver, f"{server.url}/healthz")  # a new tab of the same browser
        follow(other, link("666", "mal"), "mal (user 666)", agree=False)
        assert other.see("nickname").is_displayed()
        follow(other, link("666", "mal"), "Until now you are user 7", agree=True)
        other.arrived()
        other.wait(lambda: "mal" in other.see("me").text, "the one whom the link names")
        for person in (ann, other):
            person.leave()
        driver.switch_to.window(first)


@pytest.mark.skipif(bool(missing()), reason=missing() or "nothing is missing")
def test_a_stranger_is_asked_too(serve: Serve, tmp_path: Path) -> None:
    server = serve("--anonymous", "yes", environ=KEY)
    with chromium(tmp_path / "profile") as driver:
        first: Any = driver.current_window_handle
        eve = Person(driver, server.url + "/")
        eve.see("nickname").send_keys("eve")
        eve.click("enter")
        eve.arrived()
        eve.say("hello")
        url = f"{server.url}/#token={make_token('--user', '666', '--nickname', 'mal')}"
        follow(eve, url, "Until now you are eve", agree=False)
        eve.arrived()
        eve.wait_for_text("hello")
        assert "eve" in eve.see("me").text
        eve.leave()
        driver.switch_to.window(first)


OPEN = """
const [path, offered, done] = arguments;
const socket = new WebSocket(location.origin.replace("http", "ws") + path, offered);
socket.onopen = () => done(`open, ${socket.protocol}`);
socket.onclose = ({ code }) => done(`closed, ${code}`);
"""


@pytest.mark.skipif(bool(missing()), reason=missing() or "nothing is missing")
def test_a_browser_shows_a_token_on_every_dialect(server: ServerProcess, tmp_path: Path) -> None:
    token = make_token("--user", "7")
    with chromium(tmp_path / "profile") as driver:
        driver.get(f"{server.url}/healthz")
        for path in ("/", "/ws", "/chat"):
            assert driver.execute_async_script(OPEN, path, ["bearer", token]) == "open, bearer"
            assert driver.execute_async_script(OPEN, path, ["bearer", "nonsense"]) == "closed, 1006"
