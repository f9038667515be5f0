"""Runs the blocks of a page as they stand: files are written, commands run, servers stay until the end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from scripts.ports import free_port
from tests.e2e.process import environment
from threadchat.docs.markdown import Bullets, Code, Heading, anchor, parse

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "threadchat" / "docs"
README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.glob("*.md"))]
PATIENCE = 60.0  # seconds: a server of somebody else's has to come up beside other tests
PORTS = ("5000", "6379", "8000", "8080", "8081", "9000")
"""The ports that pages name; each gets a free one instead, so that two pages can run at a time."""

STAYS = [
    (r"flask run$", "5000"),
    (r"gunicorn ", "8000"),
    (r"python (sensors|daemon)\.py$", "8081"),
    (r"(scripts/run|python -m threadchat)( --port 9000)$", "9000"),
    (
        r"(THREADCHAT_\w+=\S+ )*(scripts/run|python -m threadchat)( --(?!help)[a-z-]+ \S+| --[a-z-]+)*$",
        "8080",
    ),
]
"""Commands that go on, and the port at which they are there."""
ENDLESS = [(r"python -m threadchat tail .*--json", r"."), (r"celery ", r"ready\.")]
"""Commands that go on, and what they print when they work."""

PIP = """#!{python}
import re, sys
from importlib.metadata import version
assert sys.argv[1] == "install", sys.argv
for word in sys.argv[2:]:
    print("has", word, version(re.sub(r"\\[.*|[<>=].*", "", word)))
"""
SCRIPT = """#!/bin/sh
# Stands for a script of the tree, which has tests of its own and takes minutes.
test -x {path} || exit 9
for word in "$@"; do case $word in tests/*) test -e "{root}/$word" || exit 8;; esac; done
"""
RUN = '#!/bin/sh\nexec "{python}" -m threadchat "$@"\n'


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def fences(text: str) -> Iterator[Code]:
    """All fenced blocks, those in lists included, in order."""

    def walk(blocks: Sequence[object]) -> Iterator[Code]:
        for block in blocks:
            if isinstance(block, Code):
                yield block
            elif isinstance(block, Bullets):
                for item in block.items:
                    yield from walk(item)

    return walk(parse(text))


def section(page: Path, *titles: str) -> str:
    """The text below these headings of the second level, one after the other."""
    parts = {part.partition("\n")[0]: part for part in re.split(r"^## ", text_of(page), flags=re.MULTILINE)}
    return "\n".join(f"## {parts[title]}" for title in titles)


def anchors(page: Path) -> set[str]:
    return {anchor(block.text) for block in parse(text_of(page)) if isinstance(block, Heading)}


def file_name(block: Code) -> str | None:
    """The name of the file that a block is: it stands in a comment in the first line."""
    found = re.match(
        r"(?:#|//|<!--) ([\w./-]+\.(?:py|js|html|toml|yaml))(?: -->)?$", block.text.split("\n")[0]
    )
    return found[1] if found else None


def commands(text: str) -> Iterator[str]:
    """The commands of a shell block, without comments."""
    lines = iter(re.sub(r"[ \t]+# .*$|^#.*$", "", text, flags=re.MULTILINE).replace("\\\n", " ").split("\n"))
    for line in lines:
        command = line.strip()
        if here := re.search(r"<<'(\w+)'", line):
            for more in lines:
                command += f"\n{more}"
                if more == here[1]:
                    break
        if command:
            yield command


@dataclass
class Shell:
    """An empty folder in which the blocks of a page are run; a context manager that ends what still runs.

    `python` is the interpreter of an environment with threadchat. `real_pip` is the environment for a pip
    that installs what a page says; without it, all that must be there already.
    """

    folder: Path
    python: Path = Path(sys.executable)
    real_pip: Mapping[str, str] | None = None
    redis: str = ""
    ports: dict[str, int] = field(default_factory=lambda: {port: free_port() for port in PORTS})
    _running: list[tuple[str, subprocess.Popen[bytes], Path]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bin = self.folder / ".bin"
        self.bin.mkdir(parents=True)
        (self.folder / "scripts").mkdir()
        for path in (ROOT / "scripts").iterdir():
            if path.is_file() and os.access(path, os.X_OK):
                self._program(self.folder / "scripts" / path.name, SCRIPT.format(path=path, root=ROOT))
        self._program(self.folder / "scripts" / "run", RUN.format(python=self.python))
        extra = {"PYTHONPATH": str(self.folder)}
        if self.real_pip is None:
            self._program(self.bin / "pip", PIP.format(python=self.python))
            extra["PYTHONPATH"] += f":{ROOT}"
        self.environ = environment(
            {
                **extra,
                "PATH": f"{self.bin}:{self.python.parent}:{os.environ['PATH']}",
                "FLASK_RUN_PORT": str(self.ports["5000"]),
                "GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{self.ports['8000']}",
                "THREADCHAT_PORT": str(self.ports["8080"]),
                "PYTHONUNBUFFERED": "1",
                **(self.real_pip or {}),
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for _, process, _ in self._running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for command, process, _ in self._running:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise AssertionError(f"{command!r} did not end") from None

    def run(self, text: str) -> None:
        """Runs all blocks of a text in order."""
        for block in fences(text):
            name = file_name(block)
            if name is not None:
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self._placed(block.text) + "\n", encoding="utf-8")
            elif block.language == "sh":
                for command in commands(block.text):
                    self.command(command)

    def command(self, command: str) -> None:
        """Runs one command, to its end or until it is there."""
        command = self._placed(command)
        if command.startswith("export "):
            self._export(command)
            return
        log = self.folder / f".log-{len(self._running)}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-o", "pipefail", "-c", command],
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append((command, process, log))
        port = next((port for pattern, port in STAYS if re.match(pattern, self._original(command))), None)
        printed = next((said for pattern, said in ENDLESS if re.match(pattern, command)), None)
        deadline = time.monotonic() + PATIENCE * (10 if self.real_pip else 1)
        while not (port and self._is_there(port)) and not (printed and re.search(printed, log.read_text())):
            code = process.poll()
            if code is not None:
                assert (code, port) == (0, None), f"{command!r} ended with {code}: {log.read_text()}"
                return
            assert time.monotonic() < deadline, f"still waiting for {command!r}: {log.read_text()}"
            time.sleep(0.05)
        assert process.poll() is None, f"{command!r} ended: {log.read_text()}"

    def output(self) -> str:
        """All that was printed."""
        return "\n".join(f"$ {command}\n{log.read_text()}" for command, _, log in self._running)

    def url(self, port: int) -> str:
        return f"http://127.0.0.1:{self.ports[str(port)]}"

    def _placed(self, text: str) -> str:
        if self.redis:
            text = text.replace("redis://127.0.0.1:6379/0", self.redis)
        return re.sub(rf"(?<=[: (])({'|'.join(PORTS)})\b", lambda found: str(self.ports[found[1]]), text)

    def _original(self, command: str) -> str:
        for port, free in self.ports.items():
            command = command.replace(str(free), port)
        return command

    def _is_there(self, port: str) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.ports[port])) == 0

    def _export(self, command: str) -> None:
        name = command.split()[1].partition("=")[0]
        script = f'{command}; printf %s "${name}"'
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=True,
        )
        self.environ[name] = done.stdout

    @staticmethod
    def _program(path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)


def has(program: str) -> bool:
    return shutil.which(program) is not None
