"""Every setting with its unit, range, reason and default, and which values go together."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any, Final, TypeVar

from threadchat.config.setting import Origin, Setting, check_value, shown, suggestion
from threadchat.config.setting import setting_field as _setting
from threadchat.config.sources import resolve
from threadchat.config.texts import (
    API_KEY,
    BROKER,
    CORE,
    HOST,
    HOSTS,
    LOG_FORMAT,
    LOG_LEVEL,
    METRICS,
    NETWORKS,
    ORIGINS,
    PATH,
    ROUTING,
    SUBPROTOCOLS,
    TOKEN_KEY,
    WORD,
)
from threadchat.config.values import Bytes, Pattern, Seconds, SecondsOrNever, Whole, YesNo
from threadchat.errors import ConfigError

_SECONDS = Seconds()
_LONG = Seconds(high=366 * 86_400)
_AGE = SecondsOrNever(high=100 * 366 * 86_400)
_SIGN_OF_LIFE = Seconds(low=3)
_YES_NO = YesNo()
_PATTERN = Pattern()
_MILLION = 1_000_000
_GIB = 1024**3


T = TypeVar("T")


def _names_unknown_settings(made: type[T]) -> type[T]:
    """Has a class say which setting a wrong name may have been meant for."""
    init = made.__init__

    @wraps(init)
    def __init__(self: T, *args: Any, **values: Any) -> None:
        for name in values:
            if name not in SETTINGS:
                raise ConfigError(f"{name} is not a setting{suggestion(name, SETTINGS)}")
        init(self, *args, **values)

    made.__init__ = __init__  # type: ignore[method-assign, assignment]
    return made


@_names_unknown_settings
@dataclass(frozen=True, slots=True)
class Config:
    """Every setting, checked when it is built: a wrong name, value, or pair of values, raises ConfigError.

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
    allow_host: str = _setting("", HOSTS, "address",
        "host names that the server is asked by, with commas, *.example.org for all below one, or * for any; "
        "empty: any, but on a loopback address only such names, so that no foreign page gets there by a "
        "name of its own (DNS rebinding)")
    subprotocols: str = _setting("", SUBPROTOCOLS, "address",
        "WebSocket subprotocols that may be chosen; a browser that offers some hangs up where none of them "
        "is, but bearer, with a token behind it, always may be")
    tls_cert: str = _setting("", PATH, "address",
        "PEM file of a certificate and its chain; with tls_key, TLS is spoken and nothing else")
    tls_key: str = _setting("", PATH, "address",
        "PEM file of the certificate's private key; SIGHUP reads both files again")
    trusted_proxy: str = _setting("", NETWORKS, "address",
        "proxies whose X-Forwarded-For is believed; from anybody else it could be made up")
    compression: bool = _setting(False, _YES_NO, "address",
        "permessage-deflate for clients that offer it: fewer bytes for more work")

    anonymous: bool = _setting(True, _YES_NO, "identity",
        "whether people without a token come in, as somebody new each time")
    token_key: str = _setting("", TOKEN_KEY, "identity",
        "secret that signs tokens with HS256")
    token_keys: str = _setting("", PATH, "identity",
        "file of public keys that tokens are signed for with RS256: a JWKS, or one key in PEM")
    token_audience: str = _setting("", WORD, "identity",
        "what a token's aud must name; empty takes tokens without one")
    token_issuer: str = _setting("", WORD, "identity",
        "what a token's iss must be; empty takes any")
    api_key: str = _setting("", API_KEY, "identity",
        "secret of /api/ and /ops, sent as X-API-Key; without it they are not there")

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
    message_timeout: float = _setting(30.0, _SECONDS, "deadlines",
        "a message that was begun, and of which no byte came for so long, is none; pings do not count")
    max_age: float = _setting(43_200.0, _LONG, "deadlines",
        "longest life of a connection, so that who one is gets looked at again")
    send_timeout: float = _setting(3.0, _SECONDS, "deadlines",
        "a socket that took no byte for so long, while a message waits, is stalled")
    write_timeout: float = _setting(10.0, _SECONDS, "deadlines",
        "a socket that is full takes 6,400 bytes for each of these seconds, or its peer is too slow")
    drain_timeout: float = _setting(10.0, _SECONDS, "deadlines",
        "time a shutdown has to say goodbye to everybody and to flush")
    presence_ttl: float = _setting(15.0, _SIGN_OF_LIFE, "deadlines",
        "a node that gave no sign of life for so long is gone, and its people leave; over Redis only")

    max_connections: int = _setting(0, Whole(0, _MILLION, "connections"), "limits",
        "connections served at once; 0 means as many as there are descriptors for")
    max_connections_per_address: int = _setting(0, Whole(0, _MILLION, "connections"), "limits",
        "connections of one address at once; 0 means any number, as it must behind a proxy not trusted")
    max_message_size: int = _setting(512_000, Bytes(125, _GIB), "limits",
        "largest message taken; a longer one is refused before it is buffered")
    outbox_messages: int = _setting(100, Whole(4, _MILLION, "messages"), "limits",
        "messages that may wait for one connection; bounds its delay")
    outbox_bytes: int = _setting(1024**2, Bytes(1024, _GIB), "limits",
        "bytes that may wait for one connection; bounds its memory")
    queued_bytes: int = _setting(256 * 1024**2, Bytes(1024**2, 1024 * _GIB), "limits",
        "bytes that may wait for all connections together; above it those with the most are let go")
    unfinished_bytes: int = _setting(128 * 1024**2, Bytes(125, 1024 * _GIB), "limits",
        "bytes of messages that are not whole yet, of all connections; above it who holds the most is let go")
    message_rate: int = _setting(0, Whole(0, _MILLION, "messages a second"), "limits",
        "commands taken of one connection; more are refused, and much more ends it; 0 means any number")
    message_burst: int = _setting(100, Whole(1, _MILLION, "messages"), "limits",
        "messages that may come at once before message_rate counts")
    rooms_per_connection: int = _setting(1000, Whole(1, _MILLION, "rooms"), "limits",
        "rooms that one connection may be in or listen to")
    max_rooms: int = _setting(3000, Whole(1, 100 * _MILLION, "rooms"), "limits",
        "rooms open at once; each holds a log, and empty ones make way for new ones")
    request_buffer: int = _setting(1024, Whole(1, _MILLION, "events"), "limits",
        "events that may wait for a stream, a listener or the router; full, it holds publishers")

    history_size: int = _setting(1024, Whole(1, _MILLION, "events"), "rooms",
        "events a room keeps for those who come later or fall behind")
    history_bytes: int = _setting(4 * 1024**2, Bytes(1024, _GIB), "rooms",
        "bytes of events a room keeps; bounds its memory when messages are long")
    logs_bytes: int = _setting(512 * 1024**2, Bytes(1024**2, 1024 * _GIB), "rooms",
        "memory for the events of all rooms together; above it the largest logs drop their oldest events")
    history_age: float = _setting(0.0, _AGE, "rooms",
        "age at which events go from a broker that lasts; 0 keeps them, as far as history_size allows")
    max_stored_rooms: int = _setting(100_000, Whole(1, 100 * _MILLION, "rooms"), "rooms",
        "rooms that an SQLite file keeps, beside open ones; those that were silent for longest go first")
    room_ttl: float = _setting(300.0, _LONG, "rooms",
        "an empty room keeps its events for so long, so that a reconnect finds them")
    inbox_size: int = _setting(256, Whole(0, _MILLION, "events"), "rooms",
        "events that wait for a known person who is away, direct messages among them; 0 keeps none")
    inbox_age: float = _setting(7 * 86_400.0, _LONG, "rooms",
        "age at which they go, and with the last one the inbox")
    announce_limit: int = _setting(200, Whole(0, _MILLION, "people"), "rooms",
        "rooms with more people do not announce who comes and goes, which would be most of the traffic")

    room_pattern: str = _setting("", _PATTERN, "rooms",
        "what a room's name must match from end to end; empty takes all that is printable")
    nickname_pattern: str = _setting("", _PATTERN, "rooms",
        "what a nickname must match from end to end; empty takes all that is printable")

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
    log_format: str = _setting("text", LOG_FORMAT, "operations",
        "text: a line for people; json: an object a line, with connection and user where there is one")
    metrics: str = _setting("key", METRICS, "operations",
        "who gets /metrics, for Prometheus: nobody (off), who has the api_key (key), or everybody (open)")
    # fmt: on

    def __post_init__(self) -> None:
        values = {}
        for name, setting in SETTINGS.items():
            values[name] = check_value(
                setting.rule.coerce, setting, getattr(self, name), Origin("code", name, "=")
            )
            object.__setattr__(self, name, values[name])  # frozen: the way to keep 5 as 5.0
        check_relations(values, {name: Origin("code", name, "=") for name in values})

    def __repr__(self) -> str:
        told = (f"{name}={setting.told(getattr(self, name))!r}" for name, setting in SETTINGS.items())
        return f"Config({', '.join(told)})"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Config:
        """The settings of `THREADCHAT_...` variables, and of the TOML file that THREADCHAT_CONFIG names.

        They are read as the stand-alone server reads them: a variable comes before the file, the file before
        the default, and REDIS_HOST may name the broker. Raises ConfigError, which names the variable.
        """
        values, origins = resolve(SETTINGS, {}, environ)
        check_relations(values, origins)
        return cls(**values)

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The origins of `allow_origin`; `*` in it stands for any."""
        return frozenset(origin.strip() for origin in self.allow_origin.split(",") if origin.strip())

    @property
    def accepted_subprotocols(self) -> frozenset[str]:
        """The names in `subprotocols`."""
        return frozenset(filter(None, map(str.strip, self.subprotocols.split(","))))


SETTINGS: Final[Mapping[str, Setting]] = {it.name: Setting(it.name, **it.metadata) for it in fields(Config)}

STAND_ALONE: Final = ("workers", "pin", "log_level", "log_format")
"""Settings of the process, which a program that has a `Chat` of its own decides about itself."""


class UnusedSetting(UserWarning):
    """A setting does nothing where it was given."""


def warn_of_unused(config: Config, stacklevel: int) -> None:
    """Warns of settings that do nothing in a program's own `Chat`; see `warnings.warn` for `stacklevel`."""
    for name in STAND_ALONE:
        if (value := getattr(config, name)) != SETTINGS[name].default:
            text = f"{name}={shown(value)} does nothing in a Chat of your own, only in python -m threadchat"
            if name.startswith("log"):
                text += "; your program sets up Python's logging, which the package logs to"
            warnings.warn(text, UnusedSetting, stacklevel + 1)


def check_relations(values: Mapping[str, Any], origins: Mapping[str, Origin]) -> None:
    """Raises ConfigError where two values do not go together."""

    def refuse(name: str, relation: str, other: str, reason: str) -> ConfigError:
        said, bound = (origins[it].saying(SETTINGS[it].told(values[it])) for it in (name, other))
        return ConfigError(f"{said}: must be {relation} {bound}; {reason}")

    if values["pong_timeout"] <= values["ping_interval"]:
        raise refuse("pong_timeout", "above", "ping_interval", "no pong can come before a ping")
    if values["history_bytes"] < values["max_message_size"]:
        raise refuse("history_bytes", "at least", "max_message_size", "a room's log has to hold one message")
    if values["unfinished_bytes"] < values["max_message_size"]:
        raise refuse("unfinished_bytes", "at least", "max_message_size", "else no such message could come")
    if values["workers"] > 1 and not values["broker"].startswith(("redis:", "rediss:", "unix:")):
        way_out = "processes share rooms over Redis alone, such as broker=redis://127.0.0.1:6379/0"
        raise refuse("workers", "1 with", "broker", way_out)
    for name, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if values[name] and not values[other]:
            raise refuse(name, "given with", other, "a certificate and its key go together")
    if values["workers"] > 1 and values["event_log"]:
        raise refuse("workers", "1 with", "event_log", "each process would write each event there")
