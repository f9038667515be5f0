"""Secrets are shown nowhere, may come from files, and files that everybody may read are warned about."""

from __future__ import annotations

import argparse
import os
import traceback
from pathlib import Path

import pytest

from threadchat import Chat, Config, ConfigError
from threadchat.cli.main import as_table, as_toml, main
from threadchat.cli.terminal.arguments import connect_parser
from threadchat.client.reconnecting_connection import without_password
from threadchat.config.exposure import exposed_files
from threadchat.config.load import load
from threadchat.config.setting import hide_password

KEY = "a-key-of-the-tests-of-40-characters-long"
PASSWORDS = {
    "redis://:hunter2@h:1/0": "redis://:(secret)@h:1/0",
    "redis://ann:hunter2@h": "redis://ann:(secret)@h",
    "redis://hunter2@h": "redis://(secret)@h",
    "redis://:hun/ter2@h": "redis://:(secret)@h",
    "redis://:hun@ter2@h": "redis://:(secret)@h",
    "redis://:hun?ter2@h": "redis://:(secret)@h",
    "redis://h/0?password=hunter2": "redis://h/0?password=(secret)",
    "redis://h/0?db=1&Password=hunter2&x=1": "redis://h/0?db=1&Password=(secret)&x=1",
    "redis:/:hunter2@h": "redis:/:(secret)@h",
    "redis//:hunter2@h": "redis//:(secret)@h",
    "unix://:hunter2@/run/redis.sock": "unix://:(secret)@/run/redis.sock",
    "redis://h:6379/0": "redis://h:6379/0",
    "sqlite:a@b.db": "sqlite:a@b.db",
    "memory": "memory",
}


@pytest.mark.parametrize(("address", "shown"), PASSWORDS.items())
def test_no_password_of_an_address_is_shown(address: str, shown: str) -> None:
    assert hide_password(address) == shown


@pytest.mark.parametrize("broker", [it for it in PASSWORDS if it.startswith("redis://")])
def test_settings_in_force_show_no_secret(broker: str) -> None:
    resolved = load({"broker": broker}, {"THREADCHAT_API_KEY": KEY, "THREADCHAT_TOKEN_KEY": KEY})
    for text in (as_table(resolved), as_toml(resolved), repr(resolved.config), repr(resolved)):
        assert KEY not in text
        assert "ter2" not in text
    assert resolved.config.broker == broker
    assert "port=8080" in repr(resolved.config)


@pytest.mark.parametrize("broker", ["redis:/:hunter2@h", "redis//:hunter2@h", "redis://:hunter2@h x"])
def test_nor_does_what_is_wrong(broker: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(broker=broker)
    assert "hunter2" not in str(caught.value)
    assert main(["config", "--broker", broker]) == 2
    assert "hunter2" not in capsys.readouterr().err


@pytest.mark.parametrize("broker", ["redis://:hun/ter2@h:1/0", "redis://:hunter2:x@h:y", "redis://:[ter2@h"])
def test_nor_does_a_broker_that_cannot_be_opened(broker: str) -> None:
    pytest.importorskip("redis")
    with pytest.raises(ConfigError) as caught:
        Chat(Config(broker=broker))
    assert "ter2" not in "".join(traceback.format_exception(caught.value))


def test_an_address_to_connect_to_is_shown_without_its_password() -> None:
    assert without_password("ws://ann:hun/t@er2@h/chat") == "ws://...@h/chat"


# -- from files --------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("name", ["api_key", "token_key"])
def test_a_secret_may_be_in_a_file(file: Path, name: str, tmp_path: Path) -> None:
    toml = tmp_path / "threadchat.toml"
    toml.write_text(f'{name} = "file:{file}"\n')
    for resolved in (
        load({name: f"file:{file}"}, {}),
        load({}, {f"THREADCHAT_{name.upper()}": f"file:{file}"}),
        load({}, {}, toml),
    ):
        assert getattr(resolved.config, name) == KEY
        assert resolved.origins[name] == f"file:{file}"
    assert getattr(Config(**{name: f"file:{file}"}), name) == KEY


def test_a_file_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--api-key: .*nowhere cannot be read: No such file"):
        load({"api_key": f"file:{tmp_path}/nowhere"}, {})
    short = tmp_path / "short"
    short.write_text("hunter2\n")
    with pytest.raises(ConfigError, match=r"api_key=\(secret\): must be at least 16"):
        Config(api_key=f"file:{short}")
    short.write_bytes(b"\xff" * 20)
    with pytest.raises(ConfigError, match="must be text"):
        Config(api_key=f"file:{short}")


def test_so_may_the_token_of_the_terminal(file: Path) -> None:
    parser = connect_parser()
    assert parser.parse_args(["--token", f"file:{file}"]).token == KEY
    assert parser.parse_args(["--token", "eyJ"]).token == "eyJ"
    action = next(it for it in parser._actions if it.dest == "token")
    assert callable(action.type)
    with pytest.raises(argparse.ArgumentTypeError, match="cannot be read"):
        action.type(f"file:{file}.not")


# -- files that everybody may read -------------------------------------------------------------------


def test_files_with_secrets_that_everybody_may_read(file: Path, tmp_path: Path) -> None:
    toml = tmp_path / "threadchat.toml"
    database = tmp_path / "chat.db"
    toml.write_text(f'api_key = "{KEY}"\ntoken_key = "file:{file}"\nbroker = "sqlite:{database}"\n')
    database.touch()
    resolved = load({}, {}, toml)
    paths = (toml, file, database)
    for path in paths:
        path.chmod(0o640)
    assert exposed_files(resolved, str(toml)) == []
    for path in paths:
        path.chmod(0o644)
    warnings = exposed_files(resolved, str(toml))
    assert [str(path) in line for path, line in zip((file, toml, database), warnings, strict=True)] == [
        True
    ] * 3
    assert KEY not in "".join(warnings)


def test_what_holds_no_secret_may_be_read_by_all(tmp_path: Path) -> None:
    toml = tmp_path / "threadchat.toml"
    toml.write_text("port = 1234\n")
    toml.chmod(0o644)
    assert exposed_files(load({}, {"THREADCHAT_API_KEY": KEY}, toml), str(toml)) == []


def test_the_server_says_so_when_it_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = tmp_path / "threadchat.toml"
    toml.write_text(f'api_key = "{KEY}"\n')
    toml.chmod(0o644)
    monkeypatch.setattr("threadchat.cli.main._serve", lambda config: 0)
    assert main(["--config", str(toml)]) == 0
    told = capsys.readouterr().err
    assert f"everybody on this machine may read {toml}, which holds the secret api_key" in told
    assert os.stat(toml).st_mode & 0o777 == 0o644
