"""threadchat.js in Node's own test runner; its types by TypeScript; and the package that npm makes of it."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from threadchat import __version__

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CLIENT = ROOT / "threadchat/server/browser"
PACKAGES = Path(sys.prefix) / "node"  # where scripts/test puts them
TSC = PACKAGES / "node_modules/.bin/tsc"
CLIENT_TESTS = ("application.", "client.", "server.")  # the others are those of our own pages
NEWEST = ["--target", "es2022", "--module", "nodenext", "--moduleResolution", "nodenext"]


@functools.cache
def node_version() -> tuple[int, int]:
    """(0, 0) where there is no Node."""
    if shutil.which("node") is None:
        return 0, 0
    found = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    major, minor, _ = found.stdout.removeprefix("v").split(".", 2)
    return int(major), int(minor)


needs_node = pytest.mark.skipif(node_version() < (18, 0), reason="needs Node 18 or newer")
needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")
needs_tsc = pytest.mark.skipif(not TSC.exists(), reason="needs TypeScript, which scripts/test gets by npm")


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """What a command prints; it has to end well."""
    environ = {
        **os.environ,
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "NODE_PACKAGES": str(PACKAGES),
    }
    found = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@needs_node
@pytest.mark.parametrize("name", sorted(path.name for path in HERE.glob("*.test.js")))
def test_node(name: str) -> None:
    if not name.startswith(CLIENT_TESTS) and node_version() < (20, 19):
        pytest.skip("Node 20.19 is the first that takes the files of our pages for modules")
    run("node", "--test", HERE / name)


@needs_tsc
def test_the_module_has_the_types_that_it_says() -> None:
    run(TSC, "--checkJs", "--allowJs", "--strict", "--noEmit", *NEWEST, CLIENT / "threadchat.js")


@needs_tsc
def test_the_types_let_pass_what_works_and_nothing_else() -> None:
    """`@ts-expect-error` in it marks what must not pass."""
    run(TSC, "--strict", "--noEmit", *NEWEST, HERE / "usage.ts")


@needs_npm
def test_npm_packs_the_folder() -> None:
    [packed] = json.loads(run("npm", "pack", "--dry-run", "--json", cwd=CLIENT))
    names = {file["path"] for file in packed["files"]}
    assert names == {"LICENSE", "README.md", "package.json", "threadchat.d.ts", "threadchat.js"}


def test_the_package_is_this_version_and_under_the_same_licence() -> None:
    assert json.loads((CLIENT / "package.json").read_text())["version"] == __version__
    assert (CLIENT / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_the_module_needs_nothing_else() -> None:
    source = (CLIENT / "threadchat.js").read_text()
    assert "\nimport " not in source
    for forbidden in ("eval(", "new Function", "innerHTML", "document.write", "<script"):
        assert forbidden not in source, "the policy of the page allows none of it"


def test_the_page_has_no_protocol_of_its_own() -> None:
    for path in (ROOT / "threadchat/server/http/page").rglob("*.js"):
        source = path.read_text()
        for word in ("WebSocket", "JSON.stringify({ type", 'type: "hello"', "resume:"):
            assert word not in source, f"{path.name}: that is the client's"
