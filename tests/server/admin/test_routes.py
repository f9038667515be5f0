"""Tests of which operators' doors there are, by the settings, and that they are where they should be."""

from __future__ import annotations

import logging
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.operators_helpers import KEY, post, request
from threadchat.config.settings import Config
from threadchat.errors import ConfigError
from threadchat.server.admin import metrics
from threadchat.server.admin.routes import Operators
from threadchat.server.chat import Chat
from threadchat.testing import LiveServer

PATHS = ("/api/info", "/api/", "/api/nothing", "/ops", "/ops/ops.js", "/metrics")


@pytest.fixture
def find() -> Iterator[Callable[..., Callable[[str], Any]]]:
    chats: list[Chat] = []

    def make(**settings: Any) -> Callable[[str], Any]:
        chat = Chat(Config(**settings))
        chats.append(chat)
        return Operators(chat, chat.config).find

    yield make
    for chat in chats:
        chat.close()


@pytest.mark.parametrize(
    ("settings", "there"),
    [
        ({}, ()),
        ({"metrics": "off"}, ()),
        ({"metrics": "open"}, ("/metrics",)),
        ({"api_key": KEY}, PATHS),
        ({"api_key": KEY, "metrics": "open"}, PATHS),
        ({"api_key": KEY, "metrics": "off"}, PATHS[:-1]),
    ],
)
def test_doors(find: Callable[..., Any], settings: dict[str, str], there: tuple[str, ...]) -> None:
    found = find(**settings)
    assert tuple(path for path in PATHS if found(path)) == there
    for path in ("/", "/chat", "/api", "/apis/info", "/ops/", "/ops/nothing", "/metrics/", "/healthz"):
        assert found(path) is None


def test_only_open_metrics_are_for_everybody(find: Callable[..., Any]) -> None:
    assert request(find(api_key=KEY)("/metrics"), "/metrics")[0] == 401
    assert request(find(api_key=KEY, metrics="open")("/metrics"), "/metrics")[0] == 200


def test_the_page_is_for_everybody_and_holds_nothing(find: Callable[..., Any]) -> None:
    door = find(api_key=KEY)("/ops")
    status, headers, body = request(door, "/ops")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'; script-src 'self'" in headers["Content-Security-Policy"]
    assert KEY.encode() not in body
    assert request(door, "/ops", HTTP_IF_NONE_MATCH=headers["ETag"])[0] == 304
    assert request(door, "/ops", "POST")[1]["Allow"] == "GET, HEAD"


def test_without_the_library(
    find: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A default start needs nothing; who asked for metrics in so many words gets them or an error."""
    monkeypatch.setattr(metrics, "available", lambda: False)
    with caplog.at_level(logging.WARNING):
        assert find()("/metrics") is None
        assert find(metrics="off", api_key=KEY)("/metrics") is None
        assert not caplog.text
        assert find(api_key=KEY)("/metrics") is not None
    assert "threadchat[metrics]" in caplog.text
    with pytest.raises(ConfigError, match=r"metrics=open: .*threadchat\[metrics\]"):
        find(metrics="open")


def test_the_library_is_imported_by_the_first_scrape_only() -> None:
    program = (
        "import sys; from threadchat import Chat, Config;"
        "chat = Chat(Config(port=0, metrics='open')); chat.listen();"
        "assert not [name for name in sys.modules if name.startswith('prometheus')]; chat.close()"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program], cwd=root, check=True, timeout=60)


def test_below_a_mount() -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-App", "yes")])
        return []

    with Chat(Config(api_key=KEY)) as chat:
        app = chat.mount(application, "/team/chat", api=True, page=True)
        for path in ("/api/info", "/ops", "/metrics", "/team/chatx/ops", "/team/chat/api"):
            assert request(app, path)[1].get("X-App") == "yes"
        assert request(app, "/team/chat/ops")[0] == 200
        assert request(app, "/team/chat/ops", "HEAD")[2] == b""
        assert request(app, "/team/chat/metrics", HTTP_X_API_KEY=KEY)[0] == 200
        assert request(app, "/team/chat/")[0] == 200
        status, answer = post(lambda environ, reply: app(_moved(environ, "/team/chat"), reply), "info")
        assert (status, answer["connections"]) == (200, 0)
        plain = chat.mount(application, "/team/chat")
        assert request(plain, "/team/chat/ops")[1].get("X-App") == "yes"


def _moved(environ: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {**environ, "PATH_INFO": prefix + environ["PATH_INFO"]}


@pytest.mark.parametrize("settings", [{}, {"metrics": "off"}])
def test_a_mount_that_asks_for_what_is_off(settings: dict[str, str]) -> None:
    with Chat(Config(**settings)) as chat, pytest.raises(ConfigError, match=r"api=True: .* api_key"):  # type: ignore[arg-type]
        chat.mount(lambda environ, start_response: [], api=True)


def test_over_the_wire(threadchat_serve: Callable[..., LiveServer]) -> None:
    server = threadchat_serve(api_key=KEY)
    for path, kind in (("ops", "text/html"), ("ops/board.js", "text/javascript"), ("metrics", "text/plain")):
        asked = urllib.request.Request(server.page + path, headers={"X-API-Key": KEY})
        with urllib.request.urlopen(asked, timeout=20) as reply:
            assert reply.headers["Content-Type"].startswith(kind)
