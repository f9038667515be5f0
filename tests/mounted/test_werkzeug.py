"""The chat mounted under Werkzeug's own server, the one behind `flask run`."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.crowd import Crowd
from tests.e2e.process import until
from tests.e2e.talker import Talker
from tests.mounted.host import APPS, Host
from tests.wire.helpers import text_frame

pytest.importorskip("werkzeug")


@pytest.fixture(params=["threaded", "alone"])
def app(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Host]:
    """With a thread for each request, and with one thread for all of them."""
    with Host(tmp_path, str(APPS / "plain_app.py"), "werkzeug", request.param) as host:
        yield host


def test_people_talk_while_requests_are_answered(app: Host) -> None:
    with Crowd(app.port) as crowd:
        members = crowd.enter(20, "r")
        for member in members:
            member.say("r", ["hi"])
        crowd.run(lambda: all(len(member.messages) == 20 for member in members))
        assert app.get("/readers") == (200, b"20")
        assert app.get("/publish?room=r&message=hello")[0] == 200
        crowd.run(lambda: all(member.messages[-1] == "hello" for member in members))


def test_frames_behind_the_request_are_not_lost(app: Host) -> None:
    status, peer = app.knock(more=text_frame('{"type": "ping", "id": "early"}'))
    assert status == 101
    assert peer.frame() == (1, b'{"type":"ok","re":"early"}')
    peer.close()


def test_the_end_of_a_connection_is_the_end_of_its_thread_and_no_error(app: Host) -> None:
    with Talker(app.ws) as ann:
        ann.hello("ann")
    app.wait_for_log("ann left with 1000")
    app.wait_for_log(" 101 -")
    until(lambda: app.get("/readers") == (200, b"0"), "its thread to end")
    assert "Traceback" not in app.log()
    assert "rror" not in app.log()


def test_a_refusal_is_a_reply(app: Host) -> None:
    status, peer = app.knock("Origin: https://evil.example")
    peer.close()
    assert status == 403
    assert app.get("/chat")[0] == 200


def test_control_c_says_goodbye(app: Host) -> None:
    with Talker(app.ws) as ann:
        ann.hello("ann")
        app.process.send_signal(signal.SIGINT)
        assert ann.close_code() == 3001
    app.stop(signal.SIGINT)
