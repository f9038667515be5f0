"""Every setting with its unit, range, reason and default, and the relations between settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from threadchat.config.relations import check_relations
from threadchat.config.setting import Origin, Setting, check_value, names_unknown_settings
from threadchat.config.setting import setting_field as _setting
from threadchat.config.sources import resolve
from threadchat.config.texts import (
    API_KEY,
    BROKER,
    COLOR,
    CORE,
    CREATE_ROOMS,
    FRAMES,
    HOST,
    HOSTS,
    LOG_FORMAT,
    LOG_LEVEL,
    LOGO,
    METRICS,
    NETWORKS,
    ORIGINS,
    PATH,
    ROOMS,
    ROUTING,
    SUBPROTOCOLS,
    TITLE,
    TOKEN_KEY,
    WORD,
)
from threadchat.config.values import AUTO, Bytes, Pattern, Seconds, SecondsOrNever, Whole, YesNo, YesNoAuto

_SECONDS = Seconds()
_LONG = Seconds(high=366 * 86_400)
_AGE = SecondsOrNever(high=100 * 366 * 86_400)
_SIGN_OF_LIFE = Seconds(low=3)
_YES_NO = YesNo()
_PATTERN = Pattern()
_MILLION = 1_000_000
_GIB = 1024**3


@names_unknown_settings
@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Every setting, with its default.

    The constructor raises ConfigError for an unknown name, a value out of range, and two values that
    contradict each other.

    Durations are in seconds; they may be given as int or float and are stored as float. Sizes are in bytes.
    Instances are immutable, so any thread may read them. `dataclasses.replace` returns a changed copy, which
    is checked again.
    """

    # fmt: off
    host: str = _setting("127.0.0.1", HOST, "address",
        "address to listen on; the default can be reached from this machine only")
    port: int = _setting(8080, Whole(0, 65_535), "address",
        "TCP port to listen on; 0 chooses a free port")
    allow_origin: str = _setting("", ORIGINS, "address",
        "web origins, separated by commas, whose pages may connect in addition to the server's own; * allows "
        "all; a page of another site can act in the name of its visitor")
    allow_host: str = _setting("", HOSTS, "address",
        "host names, separated by commas, by which the server may be addressed; *.example.org allows all "
        "names below one, * allows all; if empty, all are allowed, but on a loopback address only loopback "
        "names, which protects against DNS rebinding")
    subprotocols: str = _setting("", SUBPROTOCOLS, "address",
        "WebSocket subprotocols that the server accepts; bearer, followed by a token, is always accepted")
    tls_cert: str = _setting("", PATH, "address",
        "PEM file with a certificate and its chain; with it and tls_key, the server accepts TLS only")
    tls_key: str = _setting("", PATH, "address",
        "PEM file with the certificate's private key; on SIGHUP the server reads both files again")
    trusted_proxy: str = _setting("", NETWORKS, "address",
        "proxies whose X-Forwarded-For header is trusted; any other client could forge it")
    compression: bool = _setting(False, _YES_NO, "address",
        "permessage-deflate for clients that offer it: fewer bytes on the network, more CPU time")

    anonymous: bool | str = _setting(AUTO, YesNoAuto(), "identity",
        "whether people may connect without a token, each connection as a new user; auto: only if there is "
        "neither token_key nor token_keys")
    token_key: str = _setting("", TOKEN_KEY, "identity",
        "secret key of tokens signed with HS256")
    token_keys: str = _setting("", PATH, "identity",
        "file with the public keys of tokens signed with RS256: a JWKS, or one key in PEM")
    token_audience: str = _setting("", WORD, "identity",
        "audience that a token's aud must contain; if empty, only tokens without aud are accepted")
    token_issuer: str = _setting("", WORD, "identity",
        "issuer that a token's iss must equal; if empty, any issuer is accepted")
    api_key: str = _setting("", API_KEY, "identity",
        "secret for /api/ and /ops, sent in the X-API-Key header; without it both paths answer 404")

    page_title: str = _setting("", TITLE, "page", "name of the chat on its page")
    page_color: str = _setting("", COLOR, "page", "color of buttons and links; the page makes it readable")
    page_logo: str = _setting("", LOGO, "page", "image that stands for the chat on its page")
    page_rooms: str = _setting("", ROOMS, "page", "rooms that the page shows first; visitors enter the first")
    page_embedding: str = _setting("", FRAMES, "page",
        "pages that may show the chat in a frame; a page of another site can lure clicks into it")

    request_timeout: float = _setting(5.0, _SECONDS, "deadlines",
        "time for an HTTP request to arrive in full; an incomplete request occupies a thread")
    hello_timeout: float = _setting(5.0, _SECONDS, "deadlines",
        "time for a new connection to send hello; a silent one is closed")
    profile_timeout: float = _setting(300.0, _SECONDS, "deadlines",
        "time to choose a nickname; people need longer than programs")
    ping_interval: float = _setting(30.0, _SECONDS, "deadlines",
        "time between two pings; short enough that proxies do not close an idle connection")
    pong_timeout: float = _setting(120.0, _SECONDS, "deadlines",
        "a peer that has answered no ping for this long counts as gone; must be above ping_interval")
    message_timeout: float = _setting(30.0, _SECONDS, "deadlines",
        "time without a further byte of an incomplete message; after it, the connection is closed")
    max_age: float = _setting(43_200.0, _LONG, "deadlines",
        "longest life of a connection; after it, clients reconnect and are authenticated again")
    send_timeout: float = _setting(3.0, _SECONDS, "deadlines",
        "a socket that accepts no byte for this long, while a message waits, is closed")
    write_timeout: float = _setting(10.0, _SECONDS, "deadlines",
        "time in which a full socket must accept 6,400 bytes for each second of this setting; a slower peer "
        "is disconnected")
    drain_timeout: float = _setting(10.0, _SECONDS, "deadlines",
        "time that a shutdown may take to send what is queued and to close all connections")
    presence_ttl: float = _setting(15.0, _SIGN_OF_LIFE, "deadlines",
        "a node without a heartbeat for this long counts as gone, and its people leave; Redis only")

    max_connections: int = _setting(0, Whole(0, _MILLION, "connections"), "limits",
        "connections served at the same time; 0 means as many as there are file descriptors")
    max_connections_per_address: int = _setting(0, Whole(0, _MILLION, "connections"), "limits",
        "connections from one address at the same time; 0 means no limit, as is necessary behind a proxy "
        "that is not in trusted_proxy")
    max_message_size: int = _setting(512_000, Bytes(125, _GIB), "limits",
        "largest message that the server accepts; a longer one is refused before it is buffered")
    outbox_messages: int = _setting(100, Whole(4, _MILLION, "messages"), "limits",
        "messages that may wait for one connection; bounds how far it can lag")
    outbox_bytes: int = _setting(1024**2, Bytes(1024, _GIB), "limits",
        "bytes that may wait for one connection; bounds its memory")
    queued_bytes: int = _setting(256 * 1024**2, Bytes(1024**2, 1024 * _GIB), "limits",
        "bytes that may wait for all connections together; above it, the fullest connections are closed")
    unfinished_bytes: int = _setting(128 * 1024**2, Bytes(125, 1024 * _GIB), "limits",
        "bytes of incomplete messages from all connections together; above it, the largest one is dropped")
    message_rate: int = _setting(0, Whole(0, _MILLION, "messages a second"), "limits",
        "commands that one connection may send; more are refused, and many more close the connection; 0 "
        "means no limit")
    message_burst: int = _setting(100, Whole(1, _MILLION, "messages"), "limits",
        "messages that one connection may send at once before message_rate applies")
    address_exempt: str = _setting("127.0.0.1, ::1", NETWORKS, "limits",
        "addresses and networks that many people share, such as offices; only budgets of users apply to them")
    message_rate_per_address: int = _setting(2000, Whole(0, _MILLION, "messages a second"), "limits",
        "commands from all connections of one address; more are refused; 0 means no limit")
    byte_rate_per_address: int = _setting(2 * 1024**2, Bytes(0, _GIB, "bytes a second"), "limits",
        "bytes of messages from all connections of one address; bounds what fills logs and disks; 0 means no "
        "limit")
    query_time_per_address: int = _setting(250, Whole(0, 100_000, "milliseconds a second"), "limits",
        "CPU time for history, count, who, rooms and catching up, for the connections of one address; above "
        "it, commands are refused and catching up takes longer; 0 means no limit")
    catch_ups_per_address: int = _setting(256, Whole(0, _MILLION, "threads"), "limits",
        "connections of one address that catch up at the same time, each with a thread; further ones wait; 0 "
        "means no limit")
    subscriptions_per_address: int = _setting(20_000, Whole(0, 100 * _MILLION, "subscriptions"), "limits",
        "rooms that the connections of one address are in, added up; 0 means no limit")
    rooms_per_address: int = _setting(1000, Whole(0, 100 * _MILLION, "rooms"), "limits",
        "open rooms that the connections of one address created; 0 means no limit")
    rooms_per_connection: int = _setting(1000, Whole(1, _MILLION, "rooms"), "limits",
        "rooms that one connection may join or subscribe to")
    max_rooms: int = _setting(3000, Whole(1, 100 * _MILLION, "rooms"), "limits",
        "rooms open at the same time; each has a log in memory, and empty ones make room for new ones")
    request_buffer: int = _setting(1024, Whole(1, _MILLION, "events"), "limits",
        "events that may wait for a stream, a listener or the router; when it is full, publishers wait")

    history_size: int = _setting(1024, Whole(1, _MILLION, "events"), "rooms",
        "events that a room keeps for people who join later or fall behind")
    history_bytes: int = _setting(4 * 1024**2, Bytes(1024, _GIB), "rooms",
        "bytes of events that a room keeps; bounds its memory when messages are long")
    logs_bytes: int = _setting(512 * 1024**2, Bytes(1024**2, 1024 * _GIB), "rooms",
        "memory for the events of all rooms together; above it, the largest logs drop their oldest events")
    history_age: float = _setting(0.0, _AGE, "rooms",
        "age at which a persistent broker deletes events; 0 keeps them as long as history_size and "
        "storage_bytes allow")
    max_stored_rooms: int = _setting(100_000, Whole(1, 100 * _MILLION, "rooms"), "rooms",
        "closed rooms that an SQLite file keeps; those without events for the longest time are deleted first")
    storage_bytes: int = _setting(1024**3, Bytes(16 * 1024**2, 1024 * _GIB), "rooms",
        "bytes that an SQLite file, or all nodes together in Redis, may take; above it, the oldest events "
        "are deleted, first those of rooms that nobody is in; if all are younger than history_age, "
        "messages are refused")
    create_rooms: str = _setting("yes", CREATE_ROOMS, "rooms",
        "who may create a room by join, subscribe or message: all who may write there (yes), known users "
        "(known), or only the application (no)")
    room_ttl: float = _setting(300.0, _LONG, "rooms",
        "time for which an empty room keeps its events, so that people who reconnect find them")
    inbox_size: int = _setting(256, Whole(0, _MILLION, "events"), "rooms",
        "events, including direct messages, that are kept for a known person who is away; 0 keeps none")
    inbox_age: float = _setting(7 * 86_400.0, _LONG, "rooms",
        "age at which events in an inbox are deleted; an inbox is deleted with its last event")
    edit_window: float = _setting(900.0, _AGE, "rooms",
        "time for which people may edit their own messages; 0 forbids it")
    announce_limit: int = _setting(200, Whole(0, _MILLION, "people"), "rooms",
        "rooms with more people do not announce joins and leaves")

    room_pattern: str = _setting("", _PATTERN, "rooms",
        "regular expression that a whole room name must match; if empty, all printable names are allowed")
    nickname_pattern: str = _setting("", _PATTERN, "rooms",
        "regular expression that a whole nickname must match; if empty, all printable names are allowed")

    routing: str = _setting("directory", ROUTING, "operations",
        "which thread delivers an event: directory, the publisher's own; router, one thread for all rooms, "
        "so that publishing costs less")
    broker: str = _setting("memory", BROKER, "operations",
        "where events are stored: in memory until the process ends, in an SQLite file, or in Redis")
    wait_replicas: int = _setting(0, Whole(0, 100, "replicas"), "operations",
        "replicas of Redis that must have a message before it is acknowledged; 0 waits for none")
    workers: int = _setting(1, Whole(1, 256, "processes"), "operations",
        "processes that share the port, to use all cores (Linux only); with the memory broker they start a "
        "Redis of their own")
    pin: str = _setting("auto", CORE, "operations",
        "CPU core that the threads of connections stay on, because switching between threads is cheaper on "
        "one core; auto chooses a core by process or worker number")
    event_log: str = _setting("", PATH, "operations",
        "file to which every event is written as a line of JSON; empty means none")
    event_log_bytes: int = _setting(64 * 1024**2, Bytes(0, 1024 * _GIB), "operations",
        "size at which the event log begins a new file; 0 means any size")
    event_log_age: float = _setting(0.0, _AGE, "operations",
        "age at which the event log begins a new file; 0 means any age")
    event_log_total: int = _setting(1024**3, Bytes(0, 1024 * _GIB), "operations",
        "bytes of all files of the event log together; above it, the oldest are deleted; 0 means no limit")
    log_level: str = _setting("info", LOG_LEVEL, "operations",
        "lowest level that is logged to stderr: debug, info, warning, error or critical")
    log_format: str = _setting("text", LOG_FORMAT, "operations",
        "text: lines for people; json: one object a line, with the connection and the user if there is one")
    metrics: str = _setting("key", METRICS, "operations",
        "who may read /metrics, for Prometheus: nobody (off), holders of api_key (key), or everybody (open)")
    # fmt: on

    def __post_init__(self) -> None:
        values = {}
        for name, setting in SETTINGS.items():
            values[name] = check_value(
                setting.rule.coerce, setting, getattr(self, name), Origin("code", name, "=")
            )
            object.__setattr__(self, name, values[name])  # the class is frozen; stores 5 as 5.0
        check_relations(SETTINGS, values, {name: Origin("code", name, "=") for name in values})

    def __repr__(self) -> str:
        told = (f"{name}={setting.told(getattr(self, name))!r}" for name, setting in SETTINGS.items())
        return f"Config({', '.join(told)})"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Config:
        """The settings from `THREADCHAT_...` variables and from the TOML file that THREADCHAT_CONFIG names.

        They are read as the stand-alone server reads them: a variable overrides the file, the file overrides
        the default, and REDIS_HOST may name the broker. Raises ConfigError, which names the variable.
        """
        values, origins = resolve(SETTINGS, {}, environ)
        check_relations(SETTINGS, values, origins)
        return cls(**values)

    @property
    def admits_anonymous(self) -> bool:
        """Whether `anonymous` lets people connect without a token."""
        if self.anonymous == AUTO:
            return not (self.token_key or self.token_keys)
        return bool(self.anonymous)

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The origins of `allow_origin`; `*` in it stands for any."""
        return frozenset(origin.strip() for origin in self.allow_origin.split(",") if origin.strip())

    @property
    def accepted_subprotocols(self) -> frozenset[str]:
        """The names in `subprotocols`."""
        return frozenset(filter(None, map(str.strip, self.subprotocols.split(","))))


SETTINGS: Final[Mapping[str, Setting]] = {it.name: Setting(it.name, **it.metadata) for it in fields(Config)}
