"""Covers threadchat/config/container_environment.py: what the environment says about a Redis."""

from __future__ import annotations

import pytest

from threadchat.config.container_environment import ContainerRedis, container_redis, is_link
from threadchat.config.load import load
from threadchat.config.settings import Config
from threadchat.errors import ConfigError


@pytest.mark.parametrize(
    ("host", "port", "url", "variable"),
    [
        ("redis", "", "redis://redis:6379/0", "REDIS_HOST"),
        ("redis", "6380", "redis://redis:6380/0", "REDIS_HOST"),
        ("", "6380", "redis://127.0.0.1:6380/0", "REDIS_PORT"),
        ("", "tcp://172.17.0.2:6379", "redis://172.17.0.2:6379/0", "REDIS_PORT"),
        ("", "tcp://[fd00::2]:6379/", "redis://[fd00::2]:6379/0", "REDIS_PORT"),
        ("redis", "tcp://172.17.0.2:6380", "redis://redis:6380/0", "REDIS_HOST"),
        ("::1", "", "redis://[::1]:6379/0", "REDIS_HOST"),
        ("[::1]", "1", "redis://[::1]:1/0", "REDIS_HOST"),
        ("10.0.0.1", "06379", "redis://10.0.0.1:6379/0", "REDIS_HOST"),
    ],
)
def test_a_redis_is_found(host: str, port: str, url: str, variable: str) -> None:
    assert container_redis({"REDIS_HOST": host, "REDIS_PORT": port}) == ContainerRedis(url, variable)


@pytest.mark.parametrize("environ", [{}, {"REDIS_HOST": "", "REDIS_PORT": ""}, {"REDIS_URL": "redis://a"}])
def test_there_may_be_none(environ: dict[str, str]) -> None:
    assert container_redis(environ) is None


@pytest.mark.parametrize(
    "port",
    [
        "0",
        "65536",
        "999999",
        "-1",
        "six",
        "udp://172.17.0.2:6379",
        "tcp://172.17.0.2",
        "tcp://a b:1",
        "6379 ",
    ],
)
def test_what_is_no_port_is_refused(port: str) -> None:
    with pytest.raises(ConfigError) as caught:
        container_redis({"REDIS_HOST": "redis", "REDIS_PORT": port})
    assert str(caught.value) == (
        f"REDIS_PORT={port!r}: must be from 1 to 65535, or such as tcp://172.17.0.2:6379"
    )


@pytest.mark.parametrize("host", ["redis:6379", "redis://redis", "a b", "user@redis", "a/b"])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        container_redis({"REDIS_HOST": host})
    assert str(caught.value) == f"REDIS_HOST={host!r}: must be a host name or an address, without a port"


SERVICE = {
    "THREADCHAT_SERVICE_HOST": "10.0.0.5",
    "THREADCHAT_SERVICE_PORT": "80",
    "THREADCHAT_SERVICE_PORT_HTTP_2": "81",
    "THREADCHAT_PORT": "tcp://10.0.0.5:80",
    "THREADCHAT_PORT_80_TCP": "tcp://10.0.0.5:80",
    "THREADCHAT_PORT_80_TCP_PROTO": "tcp",
    "THREADCHAT_PORT_80_TCP_PORT": "80",
    "THREADCHAT_PORT_80_TCP_ADDR": "10.0.0.5",
    "THREADCHAT_REDIS_SERVICE_HOST": "fd00::6",
    "THREADCHAT_REDIS_SERVICE_PORT": "6379",
    "THREADCHAT_REDIS_PORT": "udp://[fd00::6]:6379",
    "THREADCHAT_REDIS_PORT_6379_SCTP": "sctp://[fd00::6]:6379",
    "THREADCHAT_REDIS_PORT_6379_SCTP_PROTO": "sctp",
    "THREADCHAT_REDIS_PORT_6379_SCTP_ADDR": "fd00::6",
}
"""What Kubernetes sets for services."""
LINK = {
    "THREADCHAT_DB_1_NAME": "/web/threadchat-db_1",
    "THREADCHAT_DB_1_PORT": "tcp://172.17.0.2:80",
    "THREADCHAT_DB_1_PORT_80_TCP_START": "tcp://172.17.0.2:80",
    "THREADCHAT_DB_1_PORT_80_TCP_END": "tcp://172.17.0.2:90",
    "THREADCHAT_DB_1_PORT_80_TCP_PORT_START": "80",
    "THREADCHAT_DB_1_PORT_80_TCP_PORT_END": "90",
    "THREADCHAT_DB_1_ENV_PATH": "/bin",
    "THREADCHAT_DB_1_ENV_lower": "",
}
"""What Docker sets for a linked container."""


@pytest.mark.parametrize("environ", [SERVICE, LINK, {"THREADCHAT_PORT": "tcp://10.0.0.5:80"}])
def test_what_engines_set_for_services_is_no_setting(environ: dict[str, str]) -> None:
    for variable, value in environ.items():
        assert is_link(variable, value, environ), variable
    assert load({}, environ).config == Config()
    assert load({"port": "81"}, environ).config.port == 81


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("THREADCHAT_PORT", "8080"),
        ("THREADCHAT_PORT", "tcp://here"),
        ("THREADCHAT_PROT", "tcp://10.0.0.5:80"),
        ("THREADCHAT_SERVICE_HOST", "example.org/x"),
        ("THREADCHAT_SERVICE_PORT", "many"),
        ("THREADCHAT_PORT_80_TCP_PROTO", "http"),
        ("THREADCHAT_NAME", "ann"),
        ("THREADCHAT_ENV_PATH", "/bin"),
        ("THREADCHAT_HELO_TIMEOUT", "5"),
    ],
)
def test_anything_else_is_meant_for_this_program(variable: str, value: str) -> None:
    assert not is_link(variable, value, {variable: value})


def test_a_misspelling_beside_a_service_is_still_told() -> None:
    with pytest.raises(ConfigError, match="did you mean THREADCHAT_HELLO_TIMEOUT"):
        load({}, SERVICE | {"THREADCHAT_HELO_TIMEOUT": "5"})
