"""The configuration of scripts/examples/gunicorn_conf.py: recycling and stopping with people in the chat."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.talker import Talker
from tests.examples.test_flask_app import log_in
from tests.mounted.host import EXAMPLES, gunicorn

pytest.importorskip("flask")
pytest.importorskip("gunicorn")


def test_recycling_and_stopping_send_people_on(tmp_path: Path) -> None:
    conf = str(EXAMPLES / "gunicorn_conf.py")
    with gunicorn(tmp_path, "flask_app:app", "-c", conf, MAX_REQUESTS="3") as host:
        headers = log_in(host, "ann")
        with Talker(host.ws, additional_headers=headers) as ann:
            ann.ask("hello")
            host.get("/chat/")
            assert ann.close_code() == 3001
        with Talker(host.ws, additional_headers=headers) as ann:
            assert ann.ask("hello")["user"] == 1, "the same person, to the next worker as well"
            assert host.stop() == 0
            assert ann.close_code() == 3001
        assert host.log().count("Booting worker") == 2
        assert "each has its own chat" not in host.log()
