"""Covers config/settings.py: every setting, the order of the sources, and the text of each complaint."""

from __future__ import annotations

import dataclasses
import json
import re
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from threadchat.config.load import load
from threadchat.config.setting import shown
from threadchat.config.settings import SETTINGS, Config
from threadchat.config.unused import UnusedSetting, warn_of_unused
from threadchat.errors import ConfigError, ThreadchatError

DEFAULTS = {
    "host": "127.0.0.1",
    "port": 8080,
    "allow_origin": "",
    "allow_host": "",
    "subprotocols": "",
    "tls_cert": "",
    "tls_key": "",
    "trusted_proxy": "",
    "compression": False,
    "anonymous": "auto",
    "token_key": "",
    "token_keys": "",
    "token_audience": "",
    "token_issuer": "",
    "api_key": "",
    "page_title": "",
    "page_color": "",
    "page_logo": "",
    "page_rooms": "",
    "page_embedding": "",
    "request_timeout": 5.0,
    "hello_timeout": 5.0,
    "profile_timeout": 300.0,
    "ping_interval": 30.0,
    "pong_timeout": 120.0,
    "message_timeout": 30.0,
    "max_age": 43_200.0,
    "send_timeout": 3.0,
    "write_timeout": 10.0,
    "drain_timeout": 10.0,
    "presence_ttl": 15.0,
    "max_connections": 0,
    "max_connections_per_address": 0,
    "max_message_size": 512_000,
    "outbox_messages": 100,
    "outbox_bytes": 1_048_576,
    "queued_bytes": 268_435_456,
    "unfinished_bytes": 128 * 1024**2,
    "message_rate": 0,
    "message_burst": 100,
    "address_exempt": "127.0.0.1, ::1",
    "message_rate_per_address": 2000,
    "byte_rate_per_address": 2 * 1024**2,
    "query_time_per_address": 250,
    "catch_ups_per_address": 256,
    "subscriptions_per_address": 20_000,
    "rooms_per_address": 1000,
    "rooms_per_connection": 1000,
    "max_rooms": 3000,
    "request_buffer": 1024,
    "history_size": 1024,
    "history_bytes": 4_194_304,
    "logs_bytes": 536_870_912,
    "history_age": 0.0,
    "max_stored_rooms": 100_000,
    "storage_bytes": 1024**3,
    "create_rooms": "yes",
    "room_ttl": 300.0,
    "inbox_size": 256,
    "inbox_age": 604_800.0,
    "edit_window": 900.0,
    "announce_limit": 200,
    "room_pattern": "",
    "nickname_pattern": "",
    "routing": "directory",
    "broker": "memory",
    "wait_replicas": 0,
    "workers": 1,
    "pin": "auto",
    "event_log": "",
    "event_log_bytes": 64 * 1024**2,
    "event_log_age": 0.0,
    "event_log_total": 1024**3,
    "log_level": "info",
    "log_format": "text",
    "metrics": "key",
}
DURATIONS = [name for name, setting in SETTINGS.items() if setting.rule.unit == "seconds"]


def complaint(flags: dict[str, str], environ: dict[str, str] | None = None, file: Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(flags, environ or {}, file)
    return str(caught.value)


@pytest.fixture
def chdir_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def toml(text: str) -> Path:
    """Writes chat.toml into the current folder, so that messages name it by that."""
    path = Path("chat.toml")
    path.write_text(text, encoding="utf-8")
    return path


# -- Config ------------------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_design() -> None:
    assert dataclasses.asdict(Config()) == DEFAULTS


def test_every_setting_is_described() -> None:
    assert list(SETTINGS) == list(DEFAULTS)
    for setting in SETTINGS.values():
        assert setting.rule.limits
        assert len(setting.reason) > 20
        assert "\n" not in setting.reason


def test_a_config_is_immutable_and_has_no_other_attributes() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().port = 1  # type: ignore[misc]
    assert not hasattr(Config(), "__dict__")


def test_a_few_settings_can_be_changed_from_code() -> None:
    config = Config(port=0, hello_timeout=0.2)
    assert (config.port, config.hello_timeout, config.host) == (0, 0.2, "127.0.0.1")


@pytest.mark.parametrize("name", [name for name in DURATIONS if name != "presence_ttl"])
def test_short_deadlines_are_allowed(name: str) -> None:
    # The others are shorter yet, so that ping_interval stays below pong_timeout.
    config = Config(**{"ping_interval": 0.0001, name: 0.001})
    assert getattr(config, name) == 0.001


def test_whole_seconds_are_kept_as_float() -> None:
    assert repr(Config(hello_timeout=1).hello_timeout) == "1.0"


def test_a_replaced_value_is_checked_too() -> None:
    with pytest.raises(ConfigError, match="port=-1: must be from 0 to 65535"):
        dataclasses.replace(Config(), port=-1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"port": 99999}, "port=99999: must be from 0 to 65535"),
        ({"port": True}, "port: True is not a whole number; it must be from 0 to 65535"),
        ({"port": "80"}, "port: '80' is not a whole number; it must be from 0 to 65535"),
        ({"hello_timeout": 0}, "hello_timeout=0: must be above 0 and at most 86400"),
        (
            {"hello_timeout": float("nan")},
            "hello_timeout: nan is not a number of seconds; it must be above 0 and at most 86400",
        ),
        ({"presence_ttl": 2.9}, "presence_ttl=2.9: must be from 3 to 86400"),
        ({"outbox_messages": 3}, "outbox_messages=3: must be from 4 to 1000000"),
        ({"max_connections": -1}, "max_connections=-1: must be from 0 to 1000000"),
        ({"routing": "both"}, "routing=both: must be directory or router"),
        ({"pin": "-1"}, "pin=-1: must be off, auto, or the number of a core"),
        ({"log_level": "INFO"}, "log_level=INFO: must be debug, info, warning, error or critical"),
        ({"host": ""}, "host='': must be a host name or an address, without a port and without brackets"),
        (
            {"event_log": "a\nb"},
            r"event_log='a\nb': must be the path of a file, in UTF-8, without control characters",
        ),
        (
            {"pong_timeout": 30},
            "pong_timeout=30: must be above ping_interval=30; no pong can come before a ping",
        ),
        (
            {"history_bytes": 2000},
            "history_bytes=2000: must be at least max_message_size=512000; "
            "a room's log must hold one message",
        ),
        (
            {"workers": 2, "broker": "sqlite:chat.db"},
            "workers=2: must be 1 with broker=sqlite:chat.db; "
            "one process writes an SQLite file, and several share rooms through Redis; name one as broker, "
            "or none, and the workers start a Redis of their own, which keeps nothing",
        ),
        (
            {"wait_replicas": 1, "broker": "sqlite:chat.db"},
            "wait_replicas=1: must be 0 with broker=sqlite:chat.db; only Redis has replicas",
        ),
        (
            {"workers": 2, "broker": "redis://h/", "event_log": "events.log"},
            "workers=2: must be 1 with event_log=events.log; "
            "every process would write every event to the file",
        ),
        ({"workers": 0}, "workers=0: must be from 1 to 256"),
    ],
)
def test_a_wrong_value_from_code_is_named_with_its_range(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**wrong)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tls_cert": "a.pem"}, "tls_cert=a.pem: set tls_key as well; a certificate and its key"),
        ({"tls_key": "a.pem"}, "tls_key=a.pem: set tls_cert as well; a certificate and its key"),
        ({"trusted_proxy": "10.0.0.0/33"}, "trusted_proxy=10.0.0.0/33: must be addresses or networks"),
        ({"trusted_proxy": "proxy.example"}, "trusted_proxy=proxy.example: must be addresses or networks"),
        ({"room_pattern": "[a-"}, "room_pattern: '[a-' is not a regular expression"),
        ({"anonymous": 1}, "anonymous: 1 is not yes, no or auto"),
        ({"anonymous": "maybe"}, "anonymous: 'maybe' is not yes, no or auto"),
        ({"metrics": "all"}, "metrics=all: must be off, key or open"),
    ],
)
def test_what_makes_no_sense_is_said(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**wrong)
    assert str(caught.value).startswith(message)


def test_a_complaint_never_tells_a_secret() -> None:
    with pytest.raises(ConfigError) as caught:
        Config(token_key="hunter2")
    assert str(caught.value).startswith("token_key=(secret): must be at least 32 printable ASCII characters")
    assert complaint({}, {"THREADCHAT_API_KEY": "hunter2"}).startswith("THREADCHAT_API_KEY=(secret): must be")


@pytest.mark.parametrize("networks", ["10.0.0.0/8", "127.0.0.1, ::1,fd00::/8"])
def test_networks_are_taken(networks: str) -> None:
    assert Config(trusted_proxy=networks).trusted_proxy == networks


@pytest.mark.parametrize(("word", "value"), [("yes", True), ("ON", True), ("0", False), ("false", False)])
def test_yes_and_no_have_many_names(word: str, value: bool) -> None:
    assert load({"anonymous": word}, {}).config.anonymous is value


def test_the_error_is_a_value_error_and_the_packages_own() -> None:
    assert issubclass(ConfigError, ValueError)
    assert issubclass(ConfigError, ThreadchatError)


@pytest.mark.parametrize(
    "host", ["localhost", "chat.example.org", "0.0.0.0", "::", "::1", "fe80::1%eth0", "bücher.example", "a_b"]
)
def test_host_names_and_addresses_are_taken(host: str) -> None:
    assert Config(host=host).host == host


@pytest.mark.parametrize(
    "host", ["localhost:80", "[::1]", "http://localhost", "a b", "a/b", " ", "a\n", "\x00"]
)
def test_anything_else_is_no_host(host: str) -> None:
    with pytest.raises(ConfigError, match="without a port and without brackets"):
        Config(host=host)


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", set()),
        ("*", {"*"}),
        ("https://example.org", {"https://example.org"}),
        ("https://a.example:8443 , http://[::1]:80", {"https://a.example:8443", "http://[::1]:80"}),
        ("null", {"null"}),
        ("https://a.example, null", {"https://a.example", "null"}),
        ("chrome-extension://abc", {"chrome-extension://abc"}),
    ],
)
def test_origins_are_taken_apart(text: str, origins: set[str]) -> None:
    assert Config(allow_origin=text).allowed_origins == origins


@pytest.mark.parametrize(
    "text", ["example.org", "https://example.org/", "https://a.example https://b.example", "*,*", ","]
)
def test_anything_else_is_no_origin(text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape("must be *, or origins such as https://example.org or")):
        Config(allow_origin=text)


def test_subprotocols_are_taken_apart() -> None:
    assert Config().accepted_subprotocols == frozenset()
    assert Config(subprotocols="chat.v1 , chat.v2").accepted_subprotocols == {"chat.v1", "chat.v2"}


@pytest.mark.parametrize("text", [",", "chat v1", "chat/1", "chat.v1,", "\u00e4"])
def test_anything_else_is_no_subprotocol(text: str) -> None:
    with pytest.raises(ConfigError, match=r"must be names such as chat\.v1"):
        Config(subprotocols=text)


BROKERS = (
    "memory, sqlite:chat.db with any path, redis://host:6379/0, redis-sentinel://host:26379/service "
    "or redis-cluster://host:6379 (rediss for TLS)"
)


@pytest.mark.parametrize(
    "broker",
    [
        "memory",
        "sqlite:chat.db",
        "sqlite:/var/lib/my chats/é.db",
        "redis://127.0.0.1/",
        "rediss://user:secret@redis.example:6380/2?timeout=5",
        "unix:///run/redis.sock",
        "redis-sentinel://user:secret@a:26379,b,[::1]:1/chat?db=1",
        "rediss-sentinel://a/chat",
        "redis-cluster://user:secret@a:6379,b/",
        "rediss-cluster://a",
    ],
)
def test_brokers_are_named(broker: str) -> None:
    assert Config(broker=broker).broker == broker


@pytest.mark.parametrize(
    "broker",
    ["", "Memory", "sqlite", "sqlite:", "sqlite:///chat.db", "sqlite:a\x00b", "redis:host", "redis://a b"],
)
def test_anything_else_is_no_broker(broker: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f": must be {BROKERS}")):
        Config(broker=broker)


@pytest.mark.parametrize(
    "broker",
    [
        "memory",
        "redis://h/",
        "rediss://h/",
        "unix:///run/redis.sock",
        "redis-sentinel://h/chat",
        "redis-cluster://h",
    ],
)
def test_workers_share_a_redis(broker: str) -> None:
    assert Config(broker=broker, workers=4).workers == 4


def test_an_age_may_be_none() -> None:
    assert Config(history_age=0).history_age == 0.0
    with pytest.raises(ConfigError, match="history_age=-1: must be from 0 to 3162240000"):
        Config(history_age=-1)


# -- load --------------------------------------------------------------------------------------------


def test_nothing_given_is_all_defaults() -> None:
    resolved = load({}, {"PATH": "/bin"})
    assert resolved.config == Config()
    assert set(resolved.origins.values()) == {"default"}
    assert list(resolved.origins) == list(SETTINGS)


def test_flag_before_environment_before_file_before_default(chdir_tmp: Path) -> None:
    path = toml("hello_timeout = 1\nsend_timeout = 1\nport = 1\n")
    environ = {"THREADCHAT_HELLO_TIMEOUT": "2", "THREADCHAT_SEND_TIMEOUT": "2"}
    resolved = load({"hello_timeout": "3"}, environ, path)
    config, origins = resolved.config, resolved.origins
    assert (config.hello_timeout, origins["hello_timeout"]) == (3.0, "--hello-timeout")
    assert (config.send_timeout, origins["send_timeout"]) == (2.0, "THREADCHAT_SEND_TIMEOUT")
    assert (config.port, origins["port"]) == (1, "chat.toml")
    assert (config.max_age, origins["max_age"]) == (43_200.0, "default")


@pytest.mark.parametrize("name", list(SETTINGS))
def test_every_setting_can_come_from_each_source(name: str, chdir_tmp: Path) -> None:
    setting = SETTINGS[name]
    text, quoted = shown(setting.default), json.dumps(setting.default)
    if setting.default == "":
        text = ""
    assert setting.flag == "--" + name.replace("_", "-")
    assert load({name: text}, {}).config == Config()
    assert load({name: text}, {}).origins[name] == setting.flag
    assert load({}, {"THREADCHAT_" + name.upper(): text}).config == Config()
    assert load({}, {}, toml(f"{name} = {quoted}")).origins[name] == "chat.toml"


def test_a_linked_redis_is_the_broker_where_none_is_named(chdir_tmp: Path) -> None:
    linked = {"REDIS_PORT": "tcp://172.17.0.2:6379"}
    resolved = load({}, linked)
    assert (resolved.config.broker, resolved.origins["broker"]) == ("redis://172.17.0.2:6379/0", "REDIS_PORT")
    assert load({}, linked, toml('broker = "memory"')).config.broker == "memory"
    assert load({}, {**linked, "THREADCHAT_BROKER": "sqlite:a.db"}).config.broker == "sqlite:a.db"
    assert load({"broker": "memory"}, linked).config.broker == "memory"
    assert load({}, {"REDIS_HOST": "", "REDIS_PORT": ""}).config.broker == "memory"
    assert complaint({}, {"REDIS_PORT": "no"}).startswith("REDIS_PORT='no': must be from 1 to 65535")


def test_a_file_may_be_named_by_the_environment(chdir_tmp: Path) -> None:
    toml("port = 9000")
    assert load({}, {"THREADCHAT_CONFIG": "chat.toml"}).config.port == 9000
    Path("other.toml").write_text("port = 9001", encoding="utf-8")
    assert load({}, {"THREADCHAT_CONFIG": "chat.toml"}, "other.toml").config.port == 9001
    assert load({}, {"THREADCHAT_CONFIG": ""}).config == Config()


def test_numbers_may_be_written_readably(chdir_tmp: Path) -> None:
    assert load({"history_size": "100_000"}, {}).config.history_size == 100_000
    assert load({"outbox_bytes": "2MiB"}, {}).config.outbox_bytes == 2 * 1024**2
    assert load({}, {"THREADCHAT_OUTBOX_BYTES": "64KiB"}).config.outbox_bytes == 65_536
    assert load({}, {}, toml('outbox_bytes = "64 KiB"\nhistory_size = 1_000')).config.outbox_bytes == 65_536


def test_a_file_may_begin_with_nothing_and_hold_comments(chdir_tmp: Path) -> None:
    assert load({}, {}, toml("# nothing set\n")).config == Config()


@pytest.mark.parametrize(
    ("flags", "environ", "message"),
    [
        (
            {"ping_interval": "abc"},
            {},
            "--ping-interval: 'abc' is not a number of seconds; it must be above 0 and at most 86400",
        ),
        ({"ping_interval": "-5"}, {}, "--ping-interval -5: must be above 0 and at most 86400"),
        ({"port": ""}, {}, "--port: '' is not a whole number; it must be from 0 to 65535"),
        ({"port": "70_000"}, {}, "--port 70_000: must be from 0 to 65535"),
        (
            {"history_bytes": "4MB"},
            {},
            "--history-bytes: '4MB' is not a number of bytes such as 65536, 64KiB or 4MiB; "
            "it must be from 1024 to 1073741824",
        ),
        ({"routing": "x" * 200}, {}, f"--routing {'x' * 80}...: must be directory or router"),
        ({"prot": "1"}, {}, "prot is not a setting; did you mean port?"),
        ({}, {"THREADCHAT_PORT": "99999"}, "THREADCHAT_PORT=99999: must be from 0 to 65535"),
        (
            {},
            {"THREADCHAT_PORT": "x"},
            "THREADCHAT_PORT: 'x' is not a whole number; it must be from 0 to 65535",
        ),
        (
            {},
            {"THREADCHAT_HELLO_TIMOUT": "1"},
            "THREADCHAT_HELLO_TIMOUT is not a setting; did you mean THREADCHAT_HELLO_TIMEOUT?",
        ),
        ({}, {"THREADCHAT_CONFG": "x"}, "THREADCHAT_CONFG is not a setting; did you mean THREADCHAT_CONFIG?"),
        (
            {"pong_timeout": "20"},
            {},
            "--pong-timeout 20: must be above ping_interval=30 (the default); no pong can come before a ping",
        ),
        (
            {"pong_timeout": "200"},
            {"THREADCHAT_PING_INTERVAL": "300"},
            "--pong-timeout 200: must be above THREADCHAT_PING_INTERVAL=300; no pong can come before a ping",
        ),
        (
            {"workers": "4"},
            {"THREADCHAT_BROKER": "sqlite:chat.db"},
            "--workers 4: must be 1 with THREADCHAT_BROKER=sqlite:chat.db; "
            "one process writes an SQLite file, and several share rooms through Redis; name one as broker, "
            "or none, and the workers start a Redis of their own, which keeps nothing",
        ),
        (
            {"max_message_size": "8MiB"},
            {},
            "history_bytes=4194304 (the default): must be at least --max-message-size 8388608; "
            "a room's log must hold one message",
        ),
    ],
)
def test_a_complaint_names_its_source(flags: dict[str, str], environ: dict[str, str], message: str) -> None:
    assert complaint(flags, environ) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello_timout = 3", "chat.toml: hello_timout is not a setting; did you mean hello_timeout?"),
        ("port = 99999", "chat.toml: port = 99999: must be from 0 to 65535"),
        ("port = true", "chat.toml: port: True is not a whole number; it must be from 0 to 65535"),
        ("port = '80'", "chat.toml: port: '80' is not a whole number; it must be from 0 to 65535"),
        (
            "max_age = inf",
            "chat.toml: max_age: inf is not a number of seconds; it must be above 0 and at most 31622400",
        ),
        (
            "host = 1",
            "chat.toml: host: 1 is not text; it must be a host name or an address, "
            "without a port and without brackets",
        ),
        (
            "[network]\nport = 1",
            "chat.toml: network is not a setting; settings belong at the top level, not in a table",
        ),
        ("port = ", "chat.toml: is not TOML: Invalid value (at end of document)"),
        (
            "pong_timeout = 20\nping_interval = 25.5",
            "chat.toml: pong_timeout = 20: must be above chat.toml: ping_interval = 25.5; "
            "no pong can come before a ping",
        ),
    ],
)
def test_a_complaint_names_file_and_key(text: str, message: str, chdir_tmp: Path) -> None:
    assert complaint({}, {}, toml(text)) == message


def test_a_file_that_cannot_be_read(chdir_tmp: Path) -> None:
    assert complaint({}, {}, Path("no.toml")) == "no.toml: cannot be read: No such file or directory"
    assert complaint({}, {"THREADCHAT_CONFIG": "."}) == ".: cannot be read: Is a directory"
    Path("latin.toml").write_bytes(b"# \xe9\n")
    assert complaint({}, {}, Path("latin.toml")).startswith(
        "latin.toml: is not TOML: 'utf-8' codec can't decode"
    )


def test_what_is_overridden_is_checked_all_the_same(chdir_tmp: Path) -> None:
    assert complaint({"port": "1"}, {"THREADCHAT_PORT": "x"}).startswith("THREADCHAT_PORT: 'x'")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (30.0, "30"),
        (0.25, "0.25"),
        (1e-7, "1e-07"),
        (8080, "8080"),
        (True, "yes"),
        (False, "no"),
        ("", "''"),
        ("a\tb", r"'a\tb'"),
        ("é", "é"),
    ],
)
def test_values_are_shown_on_one_line(value: object, text: str) -> None:
    assert shown(value) == text


# -- for programs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meant"),
    [("history", "history_size"), ("max_conections", "max_connections"), ("message_bursts", "message_burst")],
)
def test_a_wrong_name_from_code_is_told_which_was_meant(name: str, meant: str) -> None:
    for make in (Config, partial(dataclasses.replace, Config())):
        with pytest.raises(ConfigError) as caught:
            make(**{name: 5})
        assert str(caught.value) == f"{name} is not a setting; did you mean {meant}?"
    with pytest.raises(ConfigError, match=r"^flavour is not a setting$"):
        Config(flavour="red")  # type: ignore[call-arg]


def test_the_environment_of_a_program(chdir_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (chdir_tmp / "chat.toml").write_text("port = 81\nmax_rooms = 7\n")
    environ = {"THREADCHAT_CONFIG": "chat.toml", "THREADCHAT_PORT": "82", "REDIS_HOST": "db", "OTHER": "x"}
    config = Config.from_env(environ)
    assert config == Config(port=82, max_rooms=7, broker="redis://db:6379/0")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert Config.from_env() == config
    with pytest.raises(ConfigError, match="THREADCHAT_PROT is not a setting; did you mean THREADCHAT_PORT"):
        Config.from_env({"THREADCHAT_PROT": "1"})
    with pytest.raises(ConfigError, match="above THREADCHAT_PING_INTERVAL=200"):
        Config.from_env({"THREADCHAT_PING_INTERVAL": "200"})


def test_settings_of_the_process_do_nothing_in_a_program_and_say_so() -> None:
    config = Config(log_level="debug", pin="off")
    with pytest.warns(UnusedSetting) as caught:
        warn_of_unused(config, 1)
    assert [str(it.message).partition(",")[0] for it in caught] == [
        "pin=off has no effect on a Chat of your own",
        "log_level=debug has no effect on a Chat of your own",
    ]
    assert {it.filename for it in caught} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_unused(Config(), 1)
