"""Covers threadchat/cli/token.py: the command `token`, where its key comes from, and its complaints."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from threadchat.cli import main as main_module
from threadchat.cli.token import LONGEST

KEY = "a-secret-that-is-long-enough-0123456789"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("THREADCHAT_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


Captured = pytest.CaptureFixture[str]


def claims(capsys: Captured, *arguments: str, key: str = KEY, **options: Any) -> dict[str, Any]:
    """What the token says that was printed, and nothing else was."""
    assert main_module.main(["token", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    return dict(jwt.decode(out.strip(), key, algorithms=["HS256"], **options))


def complaint(capsys: Captured, *arguments: str) -> str:
    """What is said on stderr, and nothing on stdout."""
    try:
        code: Any = main_module.main(["token", *arguments])
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith("threadchat: ")
    return err


def test_a_token_is_all_that_is_printed(capsys: Captured) -> None:
    said = claims(capsys, "--user", "7", "--token-key", KEY)
    assert said["sub"] == "7"
    assert said["exp"] - said["iat"] == 3600
    assert abs(said["iat"] - time.time()) < 60
    assert set(said) == {"sub", "iat", "exp"}


def test_everything_that_a_token_may_say(capsys: Captured) -> None:
    rooms = "lobby:rw, ops:rwm,team-*:r,http://a:8080,quiet:"
    said = claims(
        capsys, "--user", "7", "--nickname", "ann", "--rooms", rooms, "--expires", "60", "--token-key", KEY
    )
    assert said["exp"] - said["iat"] == 60
    assert said["nickname"] == "ann"
    assert said["rooms"] == {
        "lobby": "rw",
        "ops": "rwm",
        "team-*": "r",
        "http://a:8080": "rw",
        "quiet": "",
    }


def test_the_key_comes_from_where_the_server_has_it(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "chat.toml"
    file.write_text(f'token_key = "{KEY}"\ntoken_issuer = "shop"\ntoken_audience = "chat"\n')
    said = claims(capsys, "--user", "7", "--config", str(file), audience="chat", issuer="shop")
    assert (said["iss"], said["aud"]) == ("shop", "chat")
    monkeypatch.setenv("THREADCHAT_TOKEN_KEY", KEY[::-1])
    claims(capsys, "--user", "7", "--config", str(file), key=KEY[::-1], audience="chat")


def test_without_a_key_there_is_none(capsys: Captured) -> None:
    assert "there is none: give --token-key, THREADCHAT_TOKEN_KEY or a file" in complaint(
        capsys, "--user", "7"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--user"),
        (["--user", "0"], "'0' is not a user id"),
        (["--user", "a\nb"], "is not a user id"),
        (["--user", "7.0", "--token-key", KEY], "the server would refuse this token"),
        (["--user", "7", "--expires", "0"], "is not a whole number of seconds"),
        (["--user", "7", "--expires", str(LONGEST + 1)], "is not a whole number of seconds"),
        (["--user", "7", "--rooms", "a,,b"], "must look like lobby:rw"),
        (["--user", "7", "--rooms", "a:r,a:w"], "with each room once"),
        (["--user", "7", "--nickname", "n" * 65, "--token-key", KEY], "at most 64"),
        (["--user", "7", "--token-key", "short"], "--token-key"),
    ],
)
def test_what_cannot_be_is_said(capsys: Captured, arguments: list[str], message: str) -> None:
    said = complaint(capsys, *arguments)
    assert message in said
    assert "short " not in said  # the key


def test_help_names_every_flag(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as end:
        main_module.main(["token", "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    for flag in ("--user", "--nickname", "--rooms", "--expires", "--config", "--token-key"):
        assert flag in shown
