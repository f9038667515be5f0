"""Makes the Python environment for threadchat and its Python peers, and lists what it contains."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmark.servers import PEERS

REQUIREMENTS = PEERS / "requirements.txt"
Say = Callable[[str], None]


class CannotPrepare(Exception):
    """Raised if something is missing that every measurement needs; the message says what to do."""


def ask(python: Path | str, code: str) -> str:
    """Return what `code` prints under the interpreter `python`."""
    try:
        return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotPrepare(f"{python} is no Python that runs: {error}") from error


def _fingerprint(project: Path) -> str:
    about = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    together = REQUIREMENTS.read_text() + repr((about["name"], about.get("dependencies")))
    return hashlib.sha256(together.encode()).hexdigest()


def _pip_install(python: Path, *words: str) -> str:
    """Install quietly. Return pip's error message if it failed, otherwise an empty text."""
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def _install_peers(python: Path, say: Say) -> None:
    if not _pip_install(python, "-r", str(REQUIREMENTS)):
        return
    for line in REQUIREMENTS.read_text().splitlines():
        if line and not line.startswith("#") and (complaint := _pip_install(python, line)):
            say(f"not installed: {line}: {complaint} (to try again, delete {python.parents[1]})")


def prepare(base: str, project: Path, home: Path, say: Say) -> Path:
    """Return the interpreter of an environment with threadchat and its peers, made from `base`.

    It lies below `home`, one for each version of Python, and is made anew when what it must hold changed.
    """
    tag = ask(base, "import sys; print(sys.implementation.cache_tag + sys.abiflags)")
    place = home / tag
    python, stamp = place / "bin" / "python", place / "complete"
    fingerprint = _fingerprint(project)
    if stamp.exists() and stamp.read_text() == fingerprint:
        return python
    say(f"setting up {place} (once)")
    made = subprocess.run([base, "-m", "venv", "--clear", place], check=False, capture_output=True, text=True)
    if made.returncode:
        raise CannotPrepare(f"{base} -m venv failed: {(made.stdout + made.stderr).strip()}")
    _install_peers(python, say)
    if complaint := _pip_install(python, "--editable", str(project)):
        raise CannotPrepare(f"threadchat could not be installed: {complaint}")
    stamp.write_text(fingerprint)
    return python


def add_extra(python: Path, project: Path, extra: str) -> str:
    """Install quietly what an extra of threadchat needs. Return pip's error message if it failed."""
    return _pip_install(python, "--editable", f"{project}[{extra}]")


def importable(python: Path, modules: Iterable[str], project: Path) -> set[str]:
    """Return those of `modules` that `python` finds if it is started in the project's directory."""
    code = (
        f"import importlib.util as u, json, sys; sys.path.insert(0, {str(project)!r});"
        f"print(json.dumps([m for m in {sorted(modules)!r} if u.find_spec(m)]))"
    )
    return set(json.loads(ask(python, code)))


def versions(python: Path, packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python and of those `packages` that are installed."""
    code = (
        "import importlib.metadata as m, json, platform, sysconfig\n"
        "free = sysconfig.get_config_var('Py_GIL_DISABLED')\n"
        "found = {'python': platform.python_version() + (' free-threaded' if free else '')}\n"
        f"for p in {sorted(set(packages))!r}:\n"
        "    try: found[p] = m.version(p)\n"
        "    except m.PackageNotFoundError: pass\n"
        "print(json.dumps(found))"
    )
    found: dict[str, str] = json.loads(ask(python, code))
    return found
