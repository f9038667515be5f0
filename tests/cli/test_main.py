"""Covers threadchat/cli/main.py: help, flags, what `config` prints, complaints and exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

import threadchat
from threadchat.cli import main as main_module
from threadchat.cli.main import as_table, as_toml
from threadchat.config.load import load
from threadchat.config.settings import SETTINGS, Config

# Imports of the engine cost time that --help and config should not take.
WITHOUT_ENGINE = """
import sys
from threadchat.cli import main as main_module
from threadchat.cli.main import as_table, as_toml
assert main_module.main(["config"]) == 0
assert "threadchat.server.chat" not in sys.modules
"""


class Served:
    """Stands in for the server: remembers the configurations it was given."""

    def __init__(self) -> None:
        self.configs: list[Config] = []

    def __call__(self, config: Config) -> int:
        self.configs.append(config)
        return 7


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("THREADCHAT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    served = Served()
    monkeypatch.setattr(main_module, "serve", served)
    return served


def exit_of(*argv: str) -> int | str | None:
    with pytest.raises(SystemExit) as caught:
        main_module.main(argv)
    return caught.value.code


def table_of(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in text.splitlines()}


# -- help and version --------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", ["200", "100", "80"])
def test_help_fits_the_terminal_and_100_columns(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert exit_of("--help") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= min(100, int(columns))


def test_help_has_every_flag_with_unit_and_default_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("-h") == 0
    words = " ".join(capsys.readouterr().out.split())
    for setting in SETTINGS.values():
        assert f"{setting.flag} {setting.rule.unit.upper()}".rstrip() in words
        assert setting.reason in words
    assert "--ping-interval SECONDS" in words
    assert "(default: 30)" in words
    assert "--outbox-bytes BYTES" in words
    assert "(default: none)" in words
    places = [words.index(f" {title}: --") for title in main_module.TITLES.values()]
    assert places == sorted(places)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of("--version") == 0
    assert capsys.readouterr().out == f"{threadchat.__version__}\n"


def test_python_m_runs_the_command_line() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "threadchat", "--version"],
        cwd=Path(threadchat.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (found.stdout, found.stderr) == (f"{threadchat.__version__}\n", "")


def test_the_engine_is_not_imported_for_a_table() -> None:
    root = Path(threadchat.__file__).parents[1]
    subprocess.run([sys.executable, "-c", WITHOUT_ENGINE], cwd=root, check=True, stdout=subprocess.DEVNULL)


def test_a_reader_that_has_read_enough_is_no_failure() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        found = subprocess.run(
            [sys.executable, "-m", "threadchat", "config"],
            cwd=Path(threadchat.__file__).parents[1],
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writing)
    assert (found.returncode, found.stderr) == (0, b"")


# -- serve -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [[], ["serve"]])
def test_serving_is_the_default_and_its_exit_code_is_the_servers(argv: list[str], served: Served) -> None:
    assert main_module.main(argv) == 7
    assert served.configs == [Config()]


@pytest.mark.parametrize(
    "argv",
    [
        ["--port", "0", "--hello-timeout=0.2"],
        ["serve", "--port", "0", "--hello-timeout", "0.2"],
        ["--port", "0", "serve", "--hello-timeout", "0.2"],
        ["--port=0", "--hello-timeout", "0.2", "serve"],
        ["--port", "9", "--port", "0", "--hello-timeout", "0.2"],
    ],
)
def test_the_command_may_stand_anywhere_among_the_flags(argv: list[str], served: Served) -> None:
    main_module.main(argv)
    assert served.configs == [Config(port=0, hello_timeout=0.2)]


@pytest.mark.parametrize("name", list(SETTINGS))
def test_every_setting_has_its_flag(name: str, served: Served) -> None:
    default = SETTINGS[name].default
    main_module.main([f"{SETTINGS[name].flag}={default}"])
    assert served.configs == [Config()]


def test_arguments_come_from_the_process_by_default(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["threadchat", "--port", "9000"])
    main_module.main()
    assert served.configs == [Config(port=9000)]


def test_environment_and_file_count(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("chat.toml").write_text("port = 9000\nmax_age = 60\n", encoding="utf-8")
    monkeypatch.setenv("THREADCHAT_MAX_AGE", "61")
    main_module.main(["--config", "chat.toml"])
    monkeypatch.setenv("THREADCHAT_CONFIG", "chat.toml")
    main_module.main([])
    assert served.configs == [Config(port=9000, max_age=61)] * 2


# -- clients -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["connect", "tail"])
def test_a_client_comes_first_and_has_flags_of_its_own(
    word: str, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: list[Sequence[str]] = []
    monkeypatch.setattr("threadchat.cli.terminal.arguments.main", lambda words: run.append(words) or 3)
    assert main_module.main([word, "--room", "ops"]) == 3
    monkeypatch.setattr(sys, "argv", ["threadchat", word])
    assert main_module.main() == 3
    assert run == [[word, "--room", "ops"], [word]]
    assert not served.configs


# -- complaints --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--ping-interval", "abc"],
            "--ping-interval: 'abc' is not a number of seconds; it must be above 0 and at most 86400",
        ),
        (["--port", "-1"], "--port -1: must be from 0 to 65535"),
        (["--config", "no.toml"], "no.toml: cannot be read: No such file or directory"),
        (["config", "--port", "99999"], "--port 99999: must be from 0 to 65535"),
    ],
)
def test_a_wrong_value_is_one_line_and_exit_code_2(
    argv: list[str], message: str, served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_module.main(argv) == 2
    assert capsys.readouterr() == ("", f"threadchat: {message}\n")
    assert not served.configs


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--hello-timout", "3"], "--hello-timout is not a flag; did you mean --hello-timeout?"),
        (["--hello-timout=3"], "--hello-timout is not a flag; did you mean --hello-timeout?"),
        (["--hello", "3"], "--hello is not a flag"),
        (["--zzz"], "--zzz is not a flag"),
        (["config", "--tomll"], "--tomll is not a flag; did you mean --toml?"),
        (
            ["run"],
            "run is not expected here; the commands are serve, config, token, redact, connect and tail",
        ),
        (
            ["config", "serve"],
            "serve is not expected here; the commands are serve, config, token, redact, connect and tail",
        ),
        (["--port", "1", "connect"], "connect must come first, before its flags"),
        (["--port"], "argument --port: expected one argument"),
        (["--toml"], "--toml can be used with the command config only"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(
    argv: list[str], message: str, served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_of(*argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"threadchat: {message}")
    assert err.endswith("; --help lists the flags\n")
    assert err.count("\n") == 1
    assert not served.configs


# -- config ------------------------------------------------------------------------------------------


def test_config_prints_what_is_in_force_and_where_it_came_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("chat.toml").write_text("room_ttl = 60.5\n", encoding="utf-8")
    monkeypatch.setenv("THREADCHAT_OUTBOX_BYTES", "2MiB")
    assert main_module.main(["config", "--config", "chat.toml", "--port", "9000"]) == 0
    table = table_of(capsys.readouterr().out)
    assert list(table) == ["setting", *SETTINGS]
    assert table["setting"] == ["value", "unit", "from"]
    assert table["port"] == ["9000", "--port"]
    assert table["outbox_bytes"] == ["2097152", "bytes", "THREADCHAT_OUTBOX_BYTES"]
    assert table["room_ttl"] == ["60.5", "seconds", "chat.toml"]
    assert table["event_log"] == ["none", "default"]
    assert table["ping_interval"] == ["30", "seconds", "default"]


def test_the_columns_of_the_table_are_straight(capsys: pytest.CaptureFixture[str]) -> None:
    main_module.main(["config"])
    lines = capsys.readouterr().out.splitlines()
    start = lines[0].index("from")
    assert all(line[start:] == "default" and line[start - 1] == " " for line in lines[1:])


CHANGED = [
    "--host=::1",
    "--port=0",
    "--allow-origin=https://bücher.example, http://[::1]:80",
    '--event-log=C:\\logs\\"all" é.jsonl',
    "--max-age=0.25",
    "--history-bytes=8MiB",
    "--routing=router",
]


@pytest.mark.parametrize("flags", [[], CHANGED])
def test_the_toml_read_back_is_the_same_configuration(
    flags: list[str], served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_module.main(["config", "--toml", *flags]) == 0
    text = capsys.readouterr().out
    assert list(tomllib.loads(text)) == list(SETTINGS)
    Path("saved.toml").write_text(text, encoding="utf-8")
    main_module.main(flags)
    main_module.main(["--config", "saved.toml"])
    assert served.configs[0] == served.configs[1]


def test_the_toml_says_reason_unit_limits_and_origin(capsys: pytest.CaptureFixture[str]) -> None:
    main_module.main(["config", "--toml", "--ping-interval", "20"])
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("ping_interval = 20.0")
    assert lines[at - 2 : at] == [
        "# " + SETTINGS["ping_interval"].reason,
        "# seconds, above 0 and at most 86400; from: --ping-interval",
    ]


def test_secrets_are_in_force_but_not_shown() -> None:
    environ = {
        "THREADCHAT_API_KEY": "k" * 20,
        "THREADCHAT_TOKEN_KEY": "t" * 40,
        "THREADCHAT_BROKER": "redis://:hunter2@h:1/0",
    }
    resolved = load({}, environ)
    assert resolved.config.api_key == "k" * 20
    for text in (as_table(resolved), as_toml(resolved)):
        assert not any(secret in text for secret in ("kkk", "ttt", "hunter2"))
    assert "redis://:(secret)@h:1/0" in as_table(resolved)
    assert tomllib.loads(as_toml(resolved)).get("api_key") is None


def test_a_server_that_lets_nobody_in_does_not_start(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_module.main(["--anonymous", "no"]) == 2
    assert "anonymous=no requires a token from everybody; set token_key or token_keys as well" in (
        capsys.readouterr().err
    )
    assert served.configs == []
    assert main_module.main(["--anonymous", "no", "--token-keys", "keys.pem"]) == 7
