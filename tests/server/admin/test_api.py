"""Tests of the API's door: who may pass, what is read, and how what goes wrong is told."""

from __future__ import annotations

import hmac
import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.server.operators_helpers import KEY, post, request
from threadchat.config.settings import Config
from threadchat.errors import CommandError, ErrorCode, RoomClosed
from threadchat.server.admin import api
from threadchat.server.admin.api import CALLS, OVERHEAD, Api, Key, max_body
from threadchat.server.chat import Chat
from threadchat.server.http.request import BODY_BYTES
from threadchat.testing import LiveServer


@pytest.fixture
def chat() -> Iterator[Chat]:
    with Chat(Config(api_key=KEY)) as chat:
        yield chat


@pytest.fixture
def door(chat: Chat) -> Api:
    return Api(chat, Key(KEY), chat.config.max_message_size)


def ask(door: Api, name: str, method: str = "POST", body: bytes = b"{}", **more: str) -> tuple[int, Any, Any]:
    given = {"HTTP_X_API_KEY": KEY, "CONTENT_TYPE": "application/json", **more}
    status, headers, answer = request(door, f"/api/{name}", method, body, **given)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert not [name for name in headers if name.startswith("Access-Control")]
    return status, headers, json.loads(answer)


def test_a_call_is_answered_in_json(door: Api) -> None:
    status, headers, answer = ask(door, "rooms")
    assert (status, answer) == (200, {"rooms": []})
    assert (headers["Content-Type"], headers["Cache-Control"]) == ("application/json", "no-store")


@pytest.mark.parametrize("given", ["", "x", KEY[:-1], KEY + "x", KEY.upper(), "ä" * 30, "\udcff", f" {KEY}"])
def test_a_wrong_key_is_as_good_as_none(door: Api, given: str) -> None:
    without = request(door, "/api/info", "POST", b"{}", CONTENT_TYPE="application/json")
    refused = request(door, "/api/info", "POST", b"{}", CONTENT_TYPE="application/json", HTTP_X_API_KEY=given)
    assert refused == without
    assert (refused[0], refused[1]["WWW-Authenticate"]) == (401, "X-API-Key")
    assert json.loads(refused[2])["error"]["code"] == 101


def test_without_the_key_nothing_is_told_and_nothing_read(door: Api) -> None:
    for name, body in (("info", b"no JSON"), ("nothing", b"{}"), ("publish", b"x" * 10)):
        assert request(door, f"/api/{name}", "POST", body)[0] == 401


def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[Any] = []
    original = hmac.compare_digest

    def compare(given: bytes, known: bytes) -> bool:
        compared.append((given, known))
        return original(given, known)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert not Key(KEY).fits("x", {})
    assert Key(KEY).fits(KEY, {})
    assert compared == [(b"x", KEY.encode()), (KEY.encode(), KEY.encode())]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS", "BREW"])
def test_only_post_is_served(door: Api, method: str) -> None:
    status, headers, answer = ask(door, "info", method)
    assert (status, headers["Allow"]) == (405, "POST")
    assert "POST" in answer["error"]["reason"]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://chat.example", 200),
        ("https://chat.example", 200),
        ("http://evil.example", 403),
        ("http://chat.example.evil.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_pages_of_others_may_not_ask(door: Api, origin: str, status: int) -> None:
    assert ask(door, "info", HTTP_ORIGIN=origin)[0] == status


def test_allow_origin_is_for_the_chat_alone() -> None:
    with Chat(Config(api_key=KEY, allow_origin="*")) as chat:
        assert ask(Api(chat, Key(KEY), 1000), "info", HTTP_ORIGIN="http://evil.example")[0] == 403


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_what_a_form_can_send_is_no_call(door: Api, content_type: str) -> None:
    status, _, answer = ask(door, "info", CONTENT_TYPE=content_type)
    assert status == 415
    assert "Content-Type: application/json" in answer["error"]["reason"]


def test_json_may_name_its_letters(door: Api) -> None:
    assert ask(door, "info", CONTENT_TYPE="Application/JSON; charset=utf-8")[0] == 200


@pytest.mark.parametrize("length", ["", "-1", "1.5", "ten", "٣"])
def test_a_body_has_a_length(door: Api, length: str) -> None:
    assert ask(door, "info", CONTENT_LENGTH=length)[0] == 411


def test_a_body_has_a_limit(door: Api, chat: Chat) -> None:
    most = chat.config.max_message_size + OVERHEAD
    assert most == max_body(chat.config.max_message_size)
    assert max_body(125) == BODY_BYTES
    for length in (most + 1, 10**30):
        status, _, answer = ask(door, "info", CONTENT_LENGTH=str(length))
        assert status == 413
        assert str(most) in answer["error"]["reason"]
    assert ask(door, "info", body=b"{}".ljust(most))[0] == 200


def test_an_unknown_call_is_told_what_there_is(door: Api) -> None:
    status, _, answer = ask(door, "dance")
    assert (status, answer["error"]["code"]) == (404, 104)
    assert all(name in answer["error"]["reason"] for name in CALLS)


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("publish", b'{"room": "lobby"}', "missing required field `message`"),
        ("publish", b'{"room": "lobby", "message": 7}', "Expected `str`, got `int` - at `$.message`"),
        (
            "publish",
            b'{"room": "a", "message": "b", "usr": 1}',
            "unknown field `usr`; publish takes room, message",
        ),
        ("publish", b'{"room": "a", "message": "b", "user": 1.5}', "at `$.user`"),
        ("publish", b'{"room": "a", "message": ""}', "message is empty"),
        ("publish", b'{"room": " ", "message": "b"}', "room is ' '"),
        ("publish", b"[]", "Expected `object`, got `array`"),
        ("info", b'{"x": 1}', "info takes an empty object, {}"),
        ("rooms", b'{"x": 1}', "unknown field `x`; rooms takes [prefix]"),
        ("rooms", b'{"prefix": "' + b"x" * 129 + b'"}', "at `$.prefix`"),
        ("rooms", b"", "not JSON: Input data was truncated; send a JSON object"),
        ("rooms", b"{]", "not JSON"),
        ("rooms", b"\xff{}", "not JSON"),
        ("rooms", b"[" * 5000, "Expected `object`"),
        ("who", b'{"room": ""}', "at `$.room`"),
        ("history", b'{"room": "a", "limit": 5000}', "<= 1000"),
        (
            "history",
            b'{"room": "a", "since": {"offset": 1}}',
            "missing required field `epoch` - at `$.since`",
        ),
        ("connections", b'{"limit": 0}', ">= 1"),
        ("connections", b'{"sort": "x"}', "sort is 'x'; it must be one of slowest, number"),
        ("disconnect", b'{"user": 1, "code": 1006}', ">= 3000"),
    ],
)
def test_a_bad_request_says_what_would_be_right(door: Api, name: str, body: bytes, reason: str) -> None:
    status, _, answer = ask(door, name, body=body)
    assert (status, answer["error"]["code"], answer["error"]["temporary"]) == (400, 107, False)
    assert reason in answer["error"]["reason"]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (CommandError(ErrorCode.INTERNAL), 503, 100),
        (CommandError(ErrorCode.UNAUTHORIZED), 401, 101),
        (CommandError(ErrorCode.UNKNOWN_ROOM), 404, 102),
        (CommandError(ErrorCode.PERMISSION_DENIED), 403, 103),
        (CommandError(ErrorCode.ALREADY), 409, 105),
        (CommandError(ErrorCode.LIMIT_EXCEEDED), 409, 106),
        (CommandError(ErrorCode.LIMIT_EXCEEDED, temporary=True), 429, 106),
        (CommandError(ErrorCode.BAD_REQUEST), 400, 107),
        (CommandError(ErrorCode.NOT_AVAILABLE), 404, 108),
        (CommandError(ErrorCode.TOO_MANY_REQUESTS), 429, 111),
        (CommandError(ErrorCode.UNRECOVERABLE_POSITION), 410, 112),
        (RoomClosed("x"), 503, 108),
        (ZeroDivisionError("a fault of ours"), 500, 100),
    ],
)
def test_errors_have_statuses(door: Api, chat: Chat, error: Exception, status: int, code: int) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    chat.publish = fail  # type: ignore[method-assign,assignment]
    got, _, answer = ask(door, "publish", body=b'{"room": "a", "message": "b"}')
    assert (got, answer["error"]["code"]) == (status, code)
    assert "fault" not in answer["error"]["reason"]


def test_a_fault_of_ours_is_in_the_log(door: Api, chat: Chat, caplog: pytest.LogCaptureFixture) -> None:
    chat.publish = None  # type: ignore[method-assign,assignment]
    assert ask(door, "publish", body=b'{"room": "a", "message": "b"}')[0] == 500
    assert "/api/publish failed" in caplog.text


def test_every_code_has_a_status() -> None:
    assert set(api._BY_CODE) == set(ErrorCode)
    assert set(api._BY_CODE.values()) <= set(api._STATUSES)


def test_a_closed_chat_is_a_server_that_is_away(door: Api, chat: Chat) -> None:
    chat.close()
    status, answer = post(door, "publish", {"room": "a", "message": "b"})
    assert (status, answer["error"]["code"]) == (503, 108)


@pytest.fixture
def server(threadchat_serve: Callable[..., LiveServer]) -> LiveServer:
    return threadchat_serve(api_key=KEY, max_message_size=200_000)


def over_the_wire(
    server: LiveServer, body: bytes, path: str = "/api/publish", **headers: str
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(server.page.removeprefix("http://").rstrip("/"), timeout=20)
    given = {"Content-Type": "application/json", "X-API-Key": KEY, **headers}
    connection.request("POST", path, body, given)
    reply = connection.getresponse()
    try:
        return reply.status, reply.read()
    finally:
        connection.close()


def test_a_long_message_passes_and_a_longer_one_does_not(server: LiveServer) -> None:
    status, answer = over_the_wire(server, json.dumps({"room": "lobby", "message": "x" * 200_000}).encode())
    assert (status, json.loads(answer)["offset"]) == (200, 1)
    status, answer = over_the_wire(server, json.dumps({"room": "lobby", "message": "x" * 200_001}).encode())
    assert status == 400
    assert "max_message_size" in json.loads(answer)["error"]["reason"]
    assert over_the_wire(server, b"x" * (200_000 + OVERHEAD + 1))[0] == 413


def test_a_body_in_pieces_is_refused(server: LiveServer) -> None:
    connection = http.client.HTTPConnection(server.page.removeprefix("http://").rstrip("/"), timeout=20)
    given = {"Content-Type": "application/json", "X-API-Key": KEY}
    connection.request("POST", "/api/info", iter([b"{}"]), given, encode_chunked=True)
    reply = connection.getresponse()
    assert reply.status == 400
    assert b"Transfer-Encoding" in reply.read()
    connection.close()


def test_without_a_key_bodies_are_short_and_there_is_no_api(
    threadchat_serve: Callable[..., LiveServer],
) -> None:
    server = threadchat_serve()
    assert over_the_wire(server, b"{}") == over_the_wire(server, b"{}", path="/nothing")
    assert over_the_wire(server, b"{}")[0] == 404
    assert over_the_wire(server, b"x" * (BODY_BYTES + 1))[0] == 413
