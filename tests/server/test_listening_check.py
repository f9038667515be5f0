"""A program that publishes where nobody can ever listen is told once."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from threadchat.config.settings import Config
from threadchat.server.chat import Chat


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    return []


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_publishing_in_memory_without_a_way_in_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    with Chat(Config()) as chat:
        chat.publish("r", "hi")
        chat.emit("r", "e")
        chat.publish("r", "hi")
    [warning] = warnings(caplog)
    assert "neither mounted it nor called listen" in warning
    assert "broker=redis://" in warning


def test_a_mount_that_was_dropped_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    with Chat(Config()) as chat:
        chat.mount(app)
        gc.collect()
        chat.emit("r", "e")
    [warning] = warnings(caplog)
    assert "app.wsgi_app = chat.mount(app.wsgi_app)" in warning


def test_a_mount_that_is_kept_a_port_and_a_listener_are_ways_in(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with Chat(Config()) as chat:
        mounted = [chat.mount(app), chat.mount(app, "/other")]
        mounted.pop()
        chat.publish("r", "hi")
    with Chat(Config(port=0)) as chat:
        chat.listen()
        chat.publish("r", "hi")
    with Chat(Config()) as chat:
        chat.hub.attach_listener(lambda event: None)
        chat.publish("r", "hi")
    with Chat(Config()) as chat:
        chat.hub.room("r").attach_listener(lambda event: None)
        chat.publish("r", "hi")
    with Chat(Config(broker=f"sqlite:{tmp_path}/chat.db")) as chat:
        chat.publish("r", "hi")
    with Chat(Config(event_log=f"{tmp_path}/events.jsonl")) as chat:
        chat.publish("r", "hi")
    assert warnings(caplog) == []
