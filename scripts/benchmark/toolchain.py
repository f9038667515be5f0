"""Provides the programs that are not Python: the load generator in C, the peer in Go, and Redis."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from benchmark.environment import CannotPrepare, Say
from benchmark.servers import PEERS

LOAD_SOURCES = Path(__file__).parent / "load"
GO_SOURCE = PEERS / "gohub.go"
GORILLA = Path("/usr/share/gocode/src/github.com/gorilla/websocket")  # where Debian puts it
GO_PACKAGES = ("golang-go", "golang-github-gorilla-websocket-dev")
REDIS_PACKAGES = ("redis-server",)


def _is_newer(result: Path, sources: list[Path]) -> bool:
    return result.exists() and all(result.stat().st_mtime > source.stat().st_mtime for source in sources)


def _build(command: list[str], result: Path, environment: dict[str, str] | None = None) -> str:
    """Run `command` plus `-o` and a name of its own, then rename: two benchmarks may build at once."""
    result.parent.mkdir(parents=True, exist_ok=True)
    fresh = result.with_name(f"{result.name}.{os.getpid()}")
    words = [word if word != "OUTPUT" else str(fresh) for word in command]
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=environment)
    if done.returncode == 0:
        fresh.replace(result)
    return "" if done.returncode == 0 else done.stderr.strip()


def load_generator(home: Path) -> Path:
    """Return the load generator. Compiles it if its sources are newer."""
    result = home / "bin" / "load"
    if _is_newer(result, [*LOAD_SOURCES.glob("*.[ch]")]):
        return result
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise CannotPrepare("the load generator needs a C compiler: install gcc")
    sources = sorted(str(path) for path in LOAD_SOURCES.glob("*.c"))
    options = ["-std=gnu11", "-O2", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wshadow"]
    if complaint := _build([compiler, *options, "-o", "OUTPUT", *sources], result):
        raise CannotPrepare(f"the load generator does not compile: {complaint}")
    return result


def _install(packages: tuple[str, ...], say: Say) -> str:
    """Install Debian packages if that is allowed. Return the reason if it failed."""
    if shutil.which("apt-get") is None:
        return f"{' and '.join(packages)} come from Debian, and there is no apt-get here"
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if prefix and (
        shutil.which("sudo") is None or subprocess.run(["sudo", "-n", "true"], check=False).returncode
    ):
        return f"neither root nor sudo without a password: apt-get install {' '.join(packages)}"
    say(f"installing {' and '.join(packages)} (once)")
    options = ["-o", "DPkg::Lock::Timeout=300", "--yes", "--no-install-recommends"]
    done = subprocess.run(
        [*prefix, "apt-get", "install", *options, *packages], check=False, capture_output=True, text=True
    )
    return "" if done.returncode == 0 else f"apt-get failed: {done.stderr.strip()[-300:]}"


def _has_go() -> bool:
    return shutil.which("go") is not None and GORILLA.is_dir()


def go_hub(home: Path, may_install: bool, say: Say) -> Path | str:
    """Return the peer in Go, built if its source is newer, or the reason why there is none."""
    if not _has_go():
        reason = _install(GO_PACKAGES, say) if may_install else f"not installed: {' and '.join(GO_PACKAGES)}"
        if reason:
            return reason
    result = home / "bin" / "gohub"
    if _is_newer(result, [GO_SOURCE]):
        return result
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": str(GORILLA.parents[3]),
        "GOCACHE": str(home / "go-cache"),
    }
    complaint = _build(["go", "build", "-o", "OUTPUT", str(GO_SOURCE)], result, environment)
    return result if not complaint else f"it does not build: {complaint}"


def _redis() -> str | None:
    """Return the PATH with Debian's directory for servers, which may be missing."""
    path = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin"
    return shutil.which("redis-server", path=path) or shutil.which("valkey-server", path=path)


def redis_server(may_install: bool, say: Say) -> Path | str:
    """Return a Redis (or Valkey) server, installed if that is allowed, or the reason why there is none."""
    if _redis() is None:
        reason = (
            _install(REDIS_PACKAGES, say) if may_install else f"not installed: {' '.join(REDIS_PACKAGES)}"
        )
        if reason:
            return reason
    found = _redis()
    return Path(found) if found else "it was installed, and is not to be found"


def go_versions() -> dict[str, str]:
    """Return the versions of Go and gorilla/websocket, if they can be found."""
    asked = {
        "go": ["go", "env", "GOVERSION"],
        "gorilla/websocket": ["dpkg-query", "--show", "--showformat=${Version}", GO_PACKAGES[1]],
    }
    found = {}
    for name, command in asked.items():
        if shutil.which(command[0]):
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            found[name] = done.stdout.strip()
    return {name: version for name, version in found.items() if version}
