"""Replays the Dockerfile where no container daemon is: in a root file system that debootstrap makes.

REPLAY_IMAGE=yes scripts/test tests/cluster/test_image.py
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from scripts.ports import free_port

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "scripts/deploy/Dockerfile"
SUITE = {"python:3.13-slim": "trixie"}
"""The image's base, and the Debian that has the same Python."""
MIRROR = [os.environ["NEW_MACHINE_MIRROR"]] if os.environ.get("NEW_MACHINE_MIRROR") else []
TRUSTED = Path(os.environ.get("PIP_CERT") or "/etc/ssl/certs/ca-certificates.crt")
INSIDE = """
mount --make-rprivate / && mount --bind "$0" "$0" && mount -t proc proc "$0/proc" &&
mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"
"""

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not os.environ.get("REPLAY_IMAGE"), reason="takes minutes; REPLAY_IMAGE=yes asks for it"
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a root file system"),
    pytest.mark.skipif(shutil.which("debootstrap") is None, reason="debootstrap is not installed"),
]


def steps() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, without comments."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1].strip()) for line in lines]


class Machine:
    """A root file system; what is run in it sees nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "PIP_CERT": "/etc/trusted.pem",
        }
        self.user = "root"
        self.cwd = "/"

    def start(self, words: Sequence[str]) -> subprocess.Popen[str]:
        """Starts a program as `user` in `cwd`."""
        pairs = [f"{name}={value}" for name, value in self.environ.items()]
        change = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
        command = ["env", "-i", f"--chdir={self.cwd}", *pairs, *change, *words]
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", INSIDE]
        return subprocess.Popen(
            [*unshare, str(self.folder), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str) -> str:
        """Runs a program to its end, which has to be a good one."""
        code, output = self.try_(*words)
        assert code == 0, output
        return output

    def try_(self, *words: str) -> tuple[int, str]:
        """Runs a program to its end. Returns its exit code and what it printed."""
        with self.start(words) as process:
            output, _ = process.communicate(timeout=600)
            return process.returncode, output


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """What the image's base has: Python and pip, and nothing else."""
    suite = SUITE[dict(steps())["FROM"]]
    folder = tmp_path / "root"
    command = [
        "debootstrap",
        "--variant=minbase",
        "--include=python3-venv,ca-certificates",
        suite,
        str(folder),
        *MIRROR,
    ]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"debootstrap could not: {made.stdout[-200:]}")
    for name in ("/etc/resolv.conf", "/etc/hosts"):
        shutil.copy(name, folder / name[1:])
    if TRUSTED.is_file():
        shutil.copy(TRUSTED, folder / "etc/trusted.pem")
    machine = Machine(folder)
    machine.run("python3", "-m", "venv", "/usr/local")
    yield machine
    shutil.rmtree(folder)


def copy(machine: Machine, words: Sequence[str]) -> None:
    *sources, target = words
    for source in sources:
        there = machine.folder / target.strip("/")
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, there, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            there.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, there)


def test_the_image_serves_and_is_healthy(machine: Machine) -> None:
    check: list[str] = []
    start: list[str] = []
    for verb, rest in steps():
        if verb == "RUN":
            machine.run("sh", "-c", rest)
        elif verb == "COPY":
            copy(machine, rest.split())
        elif verb == "ENV":
            machine.environ |= dict(re.findall(r"(\w+)=(\S+)", rest))
        elif verb == "USER":
            machine.user = rest
        elif verb == "WORKDIR":
            machine.cwd = rest
        elif verb == "HEALTHCHECK":
            check = json.loads(rest[rest.index("[") :])
        elif verb == "ENTRYPOINT":
            start = json.loads(rest)
        else:
            assert verb in ("FROM", "EXPOSE"), "a step that this test does not know"
    port = free_port()  # the network is this machine's
    assert machine.environ["THREADCHAT_PORT"] == "8080"
    machine.environ["THREADCHAT_PORT"] = str(port)
    check = [word.replace(":8080", f":{port}") for word in check]
    server = machine.start(start)
    try:
        deadline = time.monotonic() + 60
        while machine.try_(*check)[0] and time.monotonic() < deadline:
            assert server.poll() is None
        assert machine.try_(*check) == (0, "")
        assert machine.run("id", "-un") == "threadchat\n"
        assert machine.try_("touch", "/src")[0] != 0, "it may write nowhere but to its own folder"
        machine.run("touch", "mine")
        [first] = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        os.kill(int(first), signal.SIGTERM)  # process 1 of the image
        output, _ = server.communicate(timeout=60)
        assert server.returncode == 0, output
    finally:
        server.kill()
        server.communicate(timeout=60)
