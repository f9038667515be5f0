"""The files that are deployed: they agree with each other, with the code, and with who checks such files."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from threadchat.cli.supervisor import GRACE
from threadchat.config.load import load
from threadchat.config.settings import Config

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "scripts" / "deploy"
COMPOSE = (DEPLOY / "compose.yaml").read_text()
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
NGINX = (DEPLOY / "nginx.conf").read_text()
UNIT = (DEPLOY / "threadchat.service").read_text()


def service(name: str) -> str:
    """One service's part of the compose file."""
    _, _, rest = COMPOSE.partition(f"\n  {name}:\n")
    return re.split(r"\n  [\w-]+:\n|\n\w+:\n", rest)[0]


def test_nginx_knows_all_replicas_by_name_and_address() -> None:
    replicas = re.findall(r"^  (chat-\d):$", COMPOSE, re.MULTILINE)
    assert replicas == ["chat-1", "chat-2", "chat-3"]
    assert re.findall(r"server (\S+):8080 ", NGINX) == replicas
    for name in replicas:
        assert "<<: *replica" in service(name)
        [address] = re.findall(r"ipv4_address: ([\d.]+)", service(name))
        assert f'- "{name}:{address}"' in service("nginx")
        assert f"{name}: {{condition: service_healthy}}" in service("nginx")


def test_the_ports_are_the_same_everywhere() -> None:
    assert "THREADCHAT_PORT=8080" in DOCKERFILE
    assert "EXPOSE 8080" in DOCKERFILE
    assert "127.0.0.1:8080/readyz" in DOCKERFILE
    assert "listen 8080;" in NGINX
    assert '- "8080:8080"' in service("nginx")
    assert "./nginx.conf:/etc/nginx/nginx.conf:ro" in service("nginx")


def test_redis_keeps_what_was_acknowledged() -> None:
    assert '"--appendonly", "yes", "--appendfsync", "always"' in service("redis")
    assert "- redis:/data" in service("redis")


@pytest.mark.parametrize(
    ("name", "text"), [("compose.yaml", COMPOSE), ("Dockerfile", DOCKERFILE), ("unit", UNIT)]
)
def test_every_setting_is_one(name: str, text: str) -> None:
    environ = dict(re.findall(r"(THREADCHAT_[A-Z_]+)(?:=|: )(\S+)", text))
    assert environ
    resolved = load({}, environ)
    assert "default" not in {resolved.origins[variable[11:].lower()] for variable in environ}


def test_a_reload_reads_certificates_again() -> None:
    assert "\nExecReload=kill -HUP $MAINPID\n" in UNIT
    assert "KillMode=mixed" in UNIT


def test_an_end_gets_the_time_that_it_takes() -> None:
    for grace in re.findall(r"stop_grace_period: (\d+)s", COMPOSE):
        assert int(grace) > Config().drain_timeout
    [seconds] = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)
    assert int(seconds) > Config().drain_timeout + GRACE


def test_the_image_gets_what_the_package_is_built_of() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [
        word for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()
    ]
    assert sorted(copied) == sorted(line[1:] for line in ignored if line.startswith("!"))
    assert all((ROOT / path).exists() for path in copied)


def test_a_yaml_reader_sees_the_same() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    found = yaml.safe_load(COMPOSE)
    assert set(found["services"]) == {"chat-1", "chat-2", "chat-3", "nginx", "redis"}
    assert found["networks"]["chat"]["ipam"]["config"] == [{"subnet": "172.30.83.0/24"}]
    for number in (1, 2, 3):
        replica = found["services"][f"chat-{number}"]
        assert replica["environment"] == {
            "THREADCHAT_BROKER": "redis://redis:6379/0",
            "THREADCHAT_TRUSTED_PROXY": "172.30.83.0/24",
        }
        assert (DEPLOY / replica["build"]["context"]).resolve() == ROOT
        assert (ROOT / replica["build"]["dockerfile"]).is_file()


LINTER = Path(sys.prefix) / "node/node_modules/.bin/dockerfile-utils"  # where scripts/test puts it


@pytest.mark.skipif(not LINTER.exists(), reason="needs dockerfile-utils, which scripts/test gets by npm")
def test_a_linter_finds_nothing_wrong_with_the_dockerfile(tmp_path: Path) -> None:
    found = subprocess.run(
        [LINTER, "lint", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout.strip()) == (0, "")
    (tmp_path / "Dockerfile").write_text("FROM python\nRUNN true\n")
    bad = subprocess.run(
        [LINTER, "lint", tmp_path / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert "RUNN" in bad.stdout


def has_compose() -> bool:
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not has_compose(), reason="docker has no compose here")
def test_compose_reads_its_file() -> None:
    command = ["docker", "compose", "-f", DEPLOY / "compose.yaml", "config", "--quiet"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    here = tmp_path / "threadchat.service"
    here.write_text(UNIT.replace("/opt/threadchat/bin/python", sys.executable))
    command = ["systemd-analyze", "verify", "--man=no", str(here)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")
