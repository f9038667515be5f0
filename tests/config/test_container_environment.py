"""Covers threadchat/config/container_environment.py: what the environment says about a Redis."""

from __future__ import annotations

import pytest

from threadchat.config.container_environment import ContainerRedis, container_redis
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
    assert str(caught.value) == f"REDIS_HOST={host!r}: must be a host name or an address, without port"
