"""Every setting with its unit, range and reason; resolves them from flags, environment, TOML and defaults."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal

from threadchat.errors import ConfigError
from threadchat.linked import linked_redis
from threadchat.rules import Bytes, Rule, Seconds, SecondsOrNever, Value, Whole
from threadchat.texts import BROKER, CORE, HOST, LOG_LEVEL, ORIGINS, PATH, ROUTING

PREFIX: Final = "THREADCHAT_"
FILE_VARIABLE: Final = "THREADCHAT_CONFIG"

Group = Literal["address", "deadlines", "limits", "rooms", "operations"]

_SECONDS = Seconds()
_LONG = Seconds(high=366 * 86_400)
_AGE = SecondsOrNever(high=100 * 366 * 86_400)
_SIGN_OF_LIFE = Seconds(low=3)
_MILLION = 1_000_000
_GIB = 1024**3


def _setting(default: Value, rule: Rule, group: Group, reason: str) -> Any:
    described = {"default": default, "rule": rule, "group": group, "reason": reason}
    return field(default=default, metadata=described)


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting, checked when it is built: a wrong value, or pair of values, raises ConfigError.

    Durations are in seconds, given as int or float and kept as float; sizes are in bytes. Immutable, so
    any thread may read it; `dataclasses.replace` makes a changed one, which is checked again.
    """

    # fmt: off
    host: str = _setting("127.0.0.1", HOST, "address",
        "address to listen on; only this machine can reach the default")
    port: int = _setting(8080, Whole(0, 65_535), "address",
        "TCP port to listen on; 0 takes any free one")
    allow_origin: str = _setting("", ORIGINS, "address",
        "web origins whose pages may connect, beside the server's own, with commas, or * for any; "
        "a foreign page would act in its visitor's name")

    request_timeout: float = _setting(5.0, _SECONDS, "deadlines",
        "an HTTP request must be complete by then, so that half of one holds no thread")
    hello_timeout: float = _setting(5.0, _SECONDS, "deadlines",
        "hello must have come by then, so that a stranger who says nothing holds no connection")
    profile_timeout: float = _setting(300.0, _SECONDS, "deadlines",
        "a nickname must be chosen by then; people need longer than programs")
    ping_interval: float = _setting(30.0, _SECONDS, "deadlines",
        "time between pings; short enough for proxies to keep a silent connection")
    pong_timeout: float = _setting(120.0, _SECONDS, "deadlines",
        "a peer that answered no ping for so long is gone; more than ping_interval")
    max_age: float = _setting(43_200.0, _LONG, "deadlines",
        "longest life of a connection, so that who one is gets looked at again")
    send_timeout: float = _setting(3.0, _SECONDS, "deadlines",
        "a socket that took no byte for so long, while a message waits, is stalled")
    write_timeout: float = _setting(10.0, _SECONDS, "deadlines",
        "one write must be taken whole by then; who reads slower cannot keep up")
    drain_timeout: float = _setting(10.0, _SECONDS, "deadlines",
        "time a shutdown has to say goodbye to everybody and to flush")
    presence_ttl: float = _setting(15.0, _SIGN_OF_LIFE, "deadlines",
        "a node that gave no sign of life for so long is gone, and its people leave; over Redis only")

    max_connections: int = _setting(0, Whole(0, _MILLION, "connections"), "limits",
        "connections served at once; 0 means as many as there are descriptors for")
    max_message_size: int = _setting(512_000, Bytes(125, _GIB), "limits",
        "largest message taken; a longer one is refused before it is buffered")
    outbox_messages: int = _setting(100, Whole(4, _MILLION, "messages"), "limits",
        "messages that may wait for one connection; bounds its delay")
    outbox_bytes: int = _setting(1024**2, Bytes(1024, _GIB), "limits",
        "bytes that may wait for one connection; bounds its memory")
    request_buffer: int = _setting(1024, Whole(1, _MILLION, "events"), "limits",
        "events that may wait for a stream, a listener or the router; full, it holds publishers")

    history_size: int = _setting(1024, Whole(1, _MILLION, "events"), "rooms",
        "events a room keeps for those who come later or fall behind")
    history_bytes: int = _setting(4 * 1024**2, Bytes(1024, _GIB), "rooms",
        "bytes of events a room keeps; bounds its memory when messages are long")
    history_age: float = _setting(0.0, _AGE, "rooms",
        "age at which events go from a broker that lasts; 0 keeps them, as far as history_size allows")
    room_ttl: float = _setting(300.0, _LONG, "rooms",
        "an empty room keeps its events for so long, so that a reconnect finds them")
    announce_limit: int = _setting(200, Whole(0, _MILLION, "people"), "rooms",
        "rooms with more people do not announce who comes and goes, which would be most of the traffic")

    routing: str = _setting("directory", ROUTING, "operations",
        "directory: the publisher's thread hands events out; router: one thread does, for cheaper publishing")
    broker: str = _setting("memory", BROKER, "operations",
        "where the rooms' events are kept: in memory, which forgets them, a lasting SQLite file, or a Redis")
    workers: int = _setting(1, Whole(1, 256, "processes"), "operations",
        "processes that share the port (Linux only) and a redis broker, so that every core has work")
    pin: str = _setting("auto", CORE, "operations",
        "core that connections' threads stay on: the interpreter runs one at a time anyway, and goes from one"
        " to the next for less within a core; auto takes one by the number of the process or worker")
    event_log: str = _setting("", PATH, "operations",
        "file that gets every event as a line of JSON; empty means none")
    log_level: str = _setting("info", LOG_LEVEL, "operations",
        "least severe event logged to stderr: debug, info, warning, error or critical")
    # fmt: on

    def __post_init__(self) -> None:
        values = {}
        for name, setting in SETTINGS.items():
            values[name] = _checked(
                setting.rule.coerce, setting, getattr(self, name), Origin("code", name, "=")
            )
            object.__setattr__(self, name, values[name])  # frozen: the way to keep 5 as 5.0
        _check_relations(values, {name: Origin("code", name, "=") for name in values})

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The origins of `allow_origin`; `*` in it stands for any."""
        return frozenset(origin.strip() for origin in self.allow_origin.split(",") if origin.strip())


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of Config and how it is spelled elsewhere."""

    name: str
    default: Value
    rule: Rule
    group: Group
    reason: str

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()


SETTINGS: Final[Mapping[str, Setting]] = {it.name: Setting(it.name, **it.metadata) for it in fields(Config)}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from, and how name and value are written there."""

    label: str
    name: str
    joint: str
    suffix: str = ""

    def saying(self, value: object) -> str:
        return f"{self.name}{self.joint}{shown(value)}{self.suffix}"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A configuration, and for each setting the flag, variable or file it came from, or "default"."""

    config: Config
    origins: Mapping[str, str]


def shown(value: object) -> str:
    """A value as a person would write it: 30 rather than 30.0, and never more than one short line."""
    text = str(value).removesuffix(".0") if isinstance(value, float) else str(value)
    text = text if text and text.isprintable() else repr(text)
    return text if len(text) <= 80 else text[:80] + "..."


def load(
    flags: Mapping[str, str], environ: Mapping[str, str], config_file: str | PathLike[str] | None = None
) -> Resolved:
    """Resolves every setting: flags before the environment, that before the file, that before the defaults.

    `flags` maps names of settings to the text given; of `environ` only `THREADCHAT_...` counts, and
    THREADCHAT_CONFIG names the file where `config_file` does not. What is overridden is checked all the same.
    Where nothing names a broker, REDIS_HOST and REDIS_PORT may.
    Raises ConfigError, whose message names the flag, the variable or the file and key.
    """
    path = config_file or environ.get(FILE_VARIABLE)
    from_file = _from_file(Path(path)) if path else {}
    given = {**_defaults(), **_from_links(environ), **from_file}
    given |= {**_from_environ(environ), **_from_flags(flags)}
    values = {name: value for name, (value, _) in given.items()}
    origins = {name: origin for name, (_, origin) in given.items()}
    _check_relations(values, origins)
    return Resolved(Config(**values), {name: origin.label for name, origin in origins.items()})


Given = dict[str, tuple[Any, Origin]]


def _defaults() -> Given:
    return {
        name: (setting.default, Origin("default", name, "=", " (the default)"))
        for name, setting in SETTINGS.items()
    }


def _from_flags(flags: Mapping[str, str]) -> Given:
    given: Given = {}
    for name, text in flags.items():
        setting = SETTINGS.get(name)
        if setting is None:
            raise ConfigError(f"{name} is not a setting{suggestion(name, SETTINGS)}")
        origin = Origin(setting.flag, setting.flag, " ")
        given[name] = (_checked(setting.rule.parse, setting, text, origin), origin)
    return given


def _from_links(environ: Mapping[str, str]) -> Given:
    found = linked_redis(environ)
    return {"broker": (found.url, Origin(found.variable, "broker", "="))} if found else {}


def _from_environ(environ: Mapping[str, str]) -> Given:
    by_variable = {setting.variable: setting for setting in SETTINGS.values()}
    given: Given = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable == FILE_VARIABLE:
            continue
        setting = by_variable.get(variable)
        if setting is None:
            raise ConfigError(
                f"{variable} is not a setting" + suggestion(variable, [*by_variable, FILE_VARIABLE])
            )
        origin = Origin(variable, variable, "=")
        given[setting.name] = (_checked(setting.rule.parse, setting, text, origin), origin)
    return given


def _from_file(path: Path) -> Given:
    given: Given = {}
    for key, raw in _read_toml(path).items():
        setting = SETTINGS.get(key)
        if setting is None:
            hint = suggestion(key, SETTINGS)
            if not hint and isinstance(raw, dict):
                hint = "; settings stand at the top level, in no table"
            raise ConfigError(f"{path}: {shown(key)} is not a setting{hint}")
        origin = Origin(shown(path), f"{path}: {key}", " = ")
        given[key] = (_checked(setting.rule.coerce, setting, raw, origin), origin)
    return given


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, a NUL in the path
        raise ConfigError(f"{path}: is not TOML: {error}") from None


def _checked(read: Callable[[Any], Value], setting: Setting, raw: object, origin: Origin) -> Value:
    rule = setting.rule
    try:
        value = read(raw)
    except ValueError:
        wrong = shown(repr(raw))
        raise ConfigError(f"{origin.name}: {wrong} is not {rule.noun}; it must be {rule.limits}") from None
    if not rule.allows(value):
        raise ConfigError(f"{origin.saying(raw)}: must be {rule.limits}")
    return value


def _check_relations(values: Mapping[str, Any], origins: Mapping[str, Origin]) -> None:
    def refuse(name: str, relation: str, other: str, reason: str) -> ConfigError:
        said, bound = (origins[it].saying(values[it]) for it in (name, other))
        return ConfigError(f"{said}: must be {relation} {bound}; {reason}")

    if values["pong_timeout"] <= values["ping_interval"]:
        raise refuse("pong_timeout", "above", "ping_interval", "no pong can come before a ping")
    if values["history_bytes"] < values["max_message_size"]:
        raise refuse("history_bytes", "at least", "max_message_size", "a room's log has to hold one message")
    if values["workers"] > 1 and not values["broker"].startswith(("redis:", "rediss:", "unix:")):
        way_out = "processes share rooms over Redis alone, such as broker=redis://127.0.0.1:6379/0"
        raise refuse("workers", "1 with", "broker", way_out)
    if values["workers"] > 1 and values["event_log"]:
        raise refuse("workers", "1 with", "event_log", "each process would write each event there")


def suggestion(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or nothing."""
    nearest = get_close_matches(word, list(known), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""
