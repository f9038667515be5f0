"""Which values of two settings contradict each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from threadchat.config.setting import Origin, Setting
from threadchat.errors import ConfigError


def check_relations(
    settings: Mapping[str, Setting], values: Mapping[str, Any], origins: Mapping[str, Origin]
) -> None:
    """Raises ConfigError if two values contradict each other."""

    def refuse(name: str, relation: str, other: str, reason: str) -> ConfigError:
        said, bound = (origins[it].saying(settings[it].told(values[it])) for it in (name, other))
        return ConfigError(f"{said}: must be {relation} {bound}; {reason}")

    if values["pong_timeout"] <= values["ping_interval"]:
        raise refuse("pong_timeout", "above", "ping_interval", "no pong can come before a ping")
    if values["history_bytes"] < values["max_message_size"]:
        raise refuse("history_bytes", "at least", "max_message_size", "a room's log must hold one message")
    if values["storage_bytes"] < values["history_bytes"] * 4:
        raise refuse("storage_bytes", "at least 4 times", "history_bytes", "it must hold the logs of rooms")
    if 0 < values["event_log_total"] < values["event_log_bytes"]:
        raise refuse("event_log_total", "at least", "event_log_bytes", "it must hold one file")
    if values["unfinished_bytes"] < values["max_message_size"]:
        raise refuse("unfinished_bytes", "at least", "max_message_size", "one message must be able to arrive")
    if values["workers"] > 1 and values["broker"].startswith("sqlite:"):
        way_out = (
            "one process writes an SQLite file, and several share rooms through Redis; name one as broker, "
            "or none, and the workers start a Redis of their own, which keeps nothing"
        )
        raise refuse("workers", "1 with", "broker", way_out)
    if values["wait_replicas"] and not values["broker"].startswith(("redis", "unix:")):
        raise refuse("wait_replicas", "0 with", "broker", "only Redis has replicas")
    for name, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if values[name] and not values[other]:
            said = origins[name].saying(settings[name].told(values[name]))
            raise ConfigError(f"{said}: set {other} as well; a certificate and its key belong together")
    if values["workers"] > 1 and values["event_log"]:
        raise refuse("workers", "1 with", "event_log", "every process would write every event to the file")
