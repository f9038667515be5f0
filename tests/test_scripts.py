"""Covers scripts/ and .ci/run with stand-ins for Python and apt-get: set-up, arguments, exit codes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = (
    "scripts/run",
    "scripts/test",
    "scripts/cluster",
    "scripts/faults",
    "scripts/abuse",
    "scripts/fuzz",
    "scripts/soak",
    "scripts/first-hour",
    "scripts/lowest",
    "scripts/new-machine",
    ".ci/run",
)
NEEDED = ("cc", "curl", "git", "jq", "openssl", "shellcheck", "Xvfb")
"""Programs that single tests need."""
TOOLS = ("bash", "cat", "cksum", "cp", "dirname", "env", "flock", "mkdir", "rm", "touch")

# What the scripts call as Python: notes its arguments and answers as the STUB_ variables say.
PYTHON = """#!/usr/bin/env bash
[[ "$1" == -V ]] && { echo "Python 3.12.0"; exit; }
if [[ "$1" == -c ]]; then
    case "$2" in
        *tkinter*) [[ -e "$STUB_DIR/no-tk" ]]; exit ;;
        *version_info*) echo "${STUB_VERSION:-3.12}"; exit ;;
        *ensurepip*) [[ ! -e "$STUB_DIR/no-ensurepip" ]]; exit ;;
    esac
fi
shift
echo "$*" >>"$STUB_DIR/calls"
case "$1" in
    venv) mkdir -p "$2/bin"; cp "$0" "$2/bin/python" ;;
    pip) if [[ "$2" == install && -e "$STUB_DIR/no-network" ]]; then echo "no network" >&2; exit 1; fi ;;
    ruff) [[ " ${STUB_FAIL:-} " != *" ruff-$2 "* ]] ;;
    mypy) [[ " ${STUB_FAIL:-} " != *" mypy "* ]] ;;
    pytest) echo "3 passed in 0.01s"; exit "${STUB_PYTEST:-0}" ;;
    threadchat) echo "in $PWD"; exit "${STUB_CHAT:-0}" ;;
    clustering) echo "looking in $PYTHONPATH"; exit "${STUB_CLUSTER:-0}" ;;
esac
"""
APT = """#!/usr/bin/env bash
[[ -e "$STUB_DIR/no-packages" ]] && exit 100
echo "apt-get $* (${DEBIAN_FRONTEND:-})" >>"$STUB_DIR/calls"
[[ "$*" == *-venv* ]] && rm -f "$STUB_DIR/no-ensurepip"
exit 0
"""
ID = """#!/usr/bin/env bash
echo "${STUB_UID:-0}"
"""
SUDO = """#!/usr/bin/env bash
[[ "$1" == -n && -e "$STUB_DIR/may-sudo" ]] || exit 1
shift
"$@"
"""


class Tree:
    """A copy of the scripts in an empty folder, and a PATH with nothing but the stand-ins and a few tools."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a tree"  # with a blank, as in many a home folder
        self.bin = folder / "bin"
        self.stubs = folder / "stubs"
        for path in (self.root, self.bin, self.stubs):
            path.mkdir()
        for name in ("scripts", ".ci"):
            shutil.copytree(ROOT / name, self.root / name)
        shutil.copy(ROOT / "pyproject.toml", self.root)
        for tool in TOOLS:
            if found := shutil.which(tool):
                (self.bin / tool).symlink_to(found)
        for name, text in (("python3", PYTHON), ("apt-get", APT), ("id", ID), ("sudo", SUDO)):
            self.program(name, text)
        for name in ("chromium", "chromedriver", "redis-server", "nginx", "node", "npm", *NEEDED):
            self.program(name, "#!/bin/sh\n")

    def program(self, name: str, text: str) -> Path:
        path = self.bin / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
        return path

    def forbid(self, what: str) -> None:
        (self.stubs / what).touch()

    allow = forbid

    def run(
        self, script: str, *arguments: str, cwd: Path | None = None, **stubs: str
    ) -> subprocess.CompletedProcess[str]:
        environ = {
            "PATH": str(self.bin),
            "SBIN": str(self.bin),
            "CI": "true",
            "STUB_DIR": str(self.stubs),
            **stubs,
        }
        return subprocess.run(
            [str(self.root / script), *arguments],
            cwd=cwd or self.root,
            env={**environ, **stubs},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self) -> list[str]:
        """What was called since the last time, the first word of each call standing for all of it."""
        path = self.stubs / "calls"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def verbs(calls: list[str]) -> list[str]:
    return [" ".join(call.split()[:2]) for call in calls]


# -- the files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_executable_and_strict(script: str) -> None:
    path = ROOT / script
    text = path.read_text(encoding="utf-8")
    assert os.access(path, os.X_OK)
    assert text.startswith("#!/usr/bin/env bash\n# ")
    assert "set -euo pipefail" in text


@pytest.mark.parametrize("script", [*SCRIPTS, "scripts/lib.sh"])
def test_a_script_is_bash(script: str) -> None:
    subprocess.run(["bash", "-n", ROOT / script], check=True)


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_finds_nothing() -> None:
    subprocess.run(["shellcheck", "-x", "-P", "SCRIPTDIR", *SCRIPTS, "scripts/lib.sh"], cwd=ROOT, check=True)


# -- scripts/run -------------------------------------------------------------------------------------


def test_the_first_run_installs_and_starts_the_server(tree: Tree) -> None:
    found = tree.run("scripts/run", "--port", "9000", "--host", "a b")
    assert found.returncode == 0
    calls = tree.calls()
    assert len(calls) == 3
    assert calls[0] == f"venv {tree.root}/.venv"
    assert calls[1].endswith(f"--editable {tree.root}[all]")
    assert calls[2] == "threadchat --port 9000 --host a b"


def test_stdout_is_the_servers_alone(tree: Tree) -> None:
    found = tree.run("scripts/run")
    assert found.stdout == f"in {tree.root}\n"
    assert "preparing" in found.stderr


def test_the_second_run_only_starts_the_server(tree: Tree) -> None:
    tree.run("scripts/run")
    tree.calls()
    found = tree.run("scripts/run")
    assert tree.calls() == ["threadchat"]
    assert found.stderr == ""


def test_the_server_runs_in_the_callers_folder(tree: Tree, tmp_path: Path) -> None:
    assert tree.run("scripts/run", cwd=tmp_path).stdout == f"in {tmp_path}\n"


def test_the_servers_exit_code_is_passed_on(tree: Tree) -> None:
    assert tree.run("scripts/run", STUB_CHAT="3").returncode == 3


def test_a_changed_pyproject_is_installed_again(tree: Tree) -> None:
    tree.run("scripts/run")
    with (tree.root / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    tree.calls()
    assert "up to date" in tree.run("scripts/run").stderr
    assert verbs(tree.calls()) == ["pip --version", "pip install", "threadchat"]


def test_a_moved_tree_is_installed_again(tree: Tree) -> None:
    tree.run("scripts/run")
    tree.calls()
    tree.root = tree.root.rename(tree.root.with_name("moved"))
    tree.run("scripts/run")
    assert verbs(tree.calls()) == ["pip --version", "pip install", "threadchat"]


def test_a_failed_installation_is_told_and_tried_again(tree: Tree) -> None:
    tree.forbid("no-network")
    found = tree.run("scripts/run")
    assert found.returncode == 1
    assert found.stderr.endswith(
        "no network\nthreadchat: the installation failed; pip's own words are above\n"
    )
    assert "threadchat" not in tree.calls()
    (tree.stubs / "no-network").unlink()
    assert tree.run("scripts/run").returncode == 0


def test_what_the_tests_installed_is_enough_to_run(tree: Tree) -> None:
    tree.run("scripts/test")
    tree.calls()
    tree.run("scripts/run")
    assert tree.calls() == ["threadchat"]


# -- which Python ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["3.10", "3.9", "2.7"])
def test_an_old_python_is_refused(tree: Tree, version: str) -> None:
    found = tree.run("scripts/run", STUB_VERSION=version)
    assert found.returncode == 1
    assert f"python3 is Python {version}; 3.11 or newer is needed. Name one: PYTHON=" in found.stderr
    assert tree.calls() == []


@pytest.mark.parametrize("version", ["3.11", "3.14", "4.0"])
def test_a_new_python_is_taken(tree: Tree, version: str) -> None:
    assert tree.run("scripts/run", STUB_VERSION=version).returncode == 0


def test_another_python_can_be_named(tree: Tree) -> None:
    other = (tree.bin / "python3").rename(tree.bin / "python3.13")
    assert "python3 is not there. Install Python 3.11 or newer" in tree.run("scripts/run").stderr
    assert tree.run("scripts/run", PYTHON=str(other)).returncode == 0


def test_a_missing_venv_module_is_installed_by_root(tree: Tree) -> None:
    tree.forbid("no-ensurepip")
    found = tree.run("scripts/run")
    assert found.returncode == 0
    assert found.stdout == f"in {tree.root}\n"
    update, install = tree.calls()[:2]
    assert update.startswith("apt-get update")
    assert install.startswith("apt-get install")
    assert install.endswith("python3.12-venv (noninteractive)")


def test_a_missing_venv_module_is_installed_by_sudo(tree: Tree) -> None:
    tree.forbid("no-ensurepip")
    tree.allow("may-sudo")
    assert tree.run("scripts/run", STUB_UID="1000").returncode == 0


@pytest.mark.parametrize("reason", ["no-packages", "no-root", "no-apt"])
def test_where_it_cannot_be_installed_the_command_is_told(tree: Tree, reason: str) -> None:
    tree.forbid("no-ensurepip")
    tree.forbid(reason)
    if reason == "no-apt":
        (tree.bin / "apt-get").unlink()
    found = tree.run("scripts/run", STUB_UID="1000" if reason == "no-root" else "0")
    assert found.returncode == 1
    told = found.stderr.splitlines()[-1]
    assert told == (
        "threadchat: python3 cannot make virtual environments. "
        "On Debian or Ubuntu run: sudo apt-get install python3.12-venv"
    )


# -- scripts/test ------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["scripts/test", ".ci/run"])
def test_all_checks_run_and_the_last_line_is_pytests(tree: Tree, script: str, tmp_path: Path) -> None:
    found = tree.run(script, "tests/test_x.py", "-k", "a or b", cwd=tmp_path)
    assert found.returncode == 0
    calls = tree.calls()
    assert calls[1].endswith(f"--editable {tree.root}[test]")
    assert calls[2:] == [
        "ruff check .",
        "ruff format --check .",
        "mypy --strict threadchat",
        "pytest -n 3 --dist loadfile tests/test_x.py -k a or b",
    ]
    assert found.stdout == "3 passed in 0.01s\n"


def test_what_was_installed_to_run_is_not_enough_to_test(tree: Tree) -> None:
    tree.run("scripts/run")
    tree.calls()
    tree.run("scripts/test")
    assert verbs(tree.calls())[:2] == ["pip --version", "pip install"]


@pytest.mark.parametrize(
    ("fails", "told"),
    [
        ("ruff-check", "[ruff check]"),
        ("ruff-format", "[ruff format]"),
        ("mypy", "[mypy]"),
        ("ruff-check mypy", "[ruff check] [mypy]"),
    ],
)
def test_a_failed_check_is_told_before_the_tests_and_counts(tree: Tree, fails: str, told: str) -> None:
    found = tree.run("scripts/test", STUB_FAIL=fails)
    assert found.returncode == 1
    assert found.stderr.endswith(f"threadchat: FAILED before the tests: {told}\n")
    assert found.stdout == "3 passed in 0.01s\n"


@pytest.mark.parametrize("fails", ["", "mypy"])
@pytest.mark.parametrize("status", ["1", "2", "5"])
def test_pytests_exit_code_is_passed_on(tree: Tree, fails: str, status: str) -> None:
    assert tree.run("scripts/test", STUB_FAIL=fails, STUB_PYTEST=status).returncode == int(status)


def test_a_missing_browser_is_installed(tree: Tree) -> None:
    (tree.bin / "chromedriver").unlink()
    assert tree.run("scripts/test").returncode == 0
    installs = [call for call in tree.calls() if call.startswith("apt-get install")]
    assert len(installs) == 1
    assert installs[0].endswith("chromium chromium-driver (noninteractive)")


def test_without_a_browser_it_is_told_what_is_skipped(tree: Tree) -> None:
    (tree.bin / "chromium").unlink()
    found = tree.run("scripts/test", STUB_UID="1000")
    assert found.returncode == 0
    assert "SKIPPED: the tests of the page in a browser; they need: sudo apt-get install" in found.stderr
    assert found.stdout == "3 passed in 0.01s\n"


@pytest.mark.parametrize("missing", [["redis-server"], ["nginx"], ["redis-server", "nginx"]])
def test_missing_servers_are_installed(tree: Tree, missing: list[str]) -> None:
    for name in missing:
        (tree.bin / name).unlink()
    assert tree.run("scripts/test").returncode == 0
    installs = [call for call in tree.calls() if call.startswith("apt-get install")]
    assert [call.split()[-2] for call in installs] == missing


def test_a_valkey_is_as_good_as_a_redis(tree: Tree) -> None:
    (tree.bin / "redis-server").rename(tree.bin / "valkey-server")
    assert tree.run("scripts/test").returncode == 0
    assert not [call for call in tree.calls() if call.startswith("apt-get")]


@pytest.mark.parametrize("missing", [["redis-server"], ["nginx"], ["redis-server", "nginx"]])
def test_without_servers_it_is_told_what_is_skipped(tree: Tree, missing: list[str]) -> None:
    for name in missing:
        (tree.bin / name).unlink()
    found = tree.run("scripts/test", STUB_UID="1000")
    assert found.returncode == 0
    told = f"the tests of several nodes; they need: sudo apt-get install {' '.join(missing)}\n"
    assert f"threadchat: SKIPPED: {told}" in found.stderr
    assert found.stdout == "3 passed in 0.01s\n"


def test_missing_tools_are_installed_at_once(tree: Tree) -> None:
    for name in NEEDED:
        (tree.bin / name).unlink()
    tree.forbid("no-tk")
    assert tree.run("scripts/test").returncode == 0
    [install] = [call for call in tree.calls() if call.startswith("apt-get install")]
    packages = "gcc curl jq openssl shellcheck xvfb git libc6-dev python3-tk"
    assert install.endswith(f"{packages} (noninteractive)")


def test_without_tools_it_is_told_what_is_skipped(tree: Tree) -> None:
    (tree.bin / "cc").unlink()
    found = tree.run("scripts/test", STUB_UID="1000")
    assert found.returncode == 0
    assert "SKIPPED: the tests that need: sudo apt-get install gcc libc6-dev\n" in found.stderr


def test_a_missing_python_is_installed(tree: Tree) -> None:
    stub = (tree.bin / "python3").rename(tree.stubs / "python3")
    tree.program(
        "apt-get", f'#!/usr/bin/env bash\n[[ "$*" == *" python3" ]] && cp "{stub}" "{tree.bin}/"\nexit 0'
    )
    assert tree.run("scripts/run").returncode == 0
    assert tree.calls()[-1] == "threadchat"


@pytest.mark.skipif(os.geteuid() != 0, reason="the message for others")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["buster"],
            "buster is not expected here: scripts/new-machine [--run] [bookworm] [trixie] [-- arguments]",
        ),
    ],
)
def test_a_new_machine_knows_its_words(tree: Tree, words: list[str], told: str) -> None:
    tree.program("debootstrap", "#!/bin/sh\nexit 1\n")
    found = tree.run("scripts/new-machine", *words)
    assert found.returncode == 1
    assert found.stderr == f"threadchat: {told}\n"


def test_a_new_machine_needs_root(tree: Tree) -> None:
    found = tree.run("scripts/new-machine", STUB_UID="1000")
    assert found.returncode == 1
    assert found.stderr == "threadchat: scripts/new-machine needs root, to make a root file system\n"


def test_a_missing_node_is_installed(tree: Tree) -> None:
    (tree.bin / "node").unlink()
    assert tree.run("scripts/test").returncode == 0
    installs = [call for call in tree.calls() if call.startswith("apt-get install")]
    assert [call.split()[-2] for call in installs] == ["nodejs"]


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("node", "the tests of threadchat.js; they need Node 18 or newer: sudo apt-get install nodejs"),
        ("npm", "checks of the JavaScript and of the Dockerfile; they need npm, and npm its registry"),
    ],
)
def test_without_node_or_npm_it_is_told_what_is_skipped(tree: Tree, missing: str, told: str) -> None:
    (tree.bin / missing).unlink()
    found = tree.run("scripts/test", STUB_UID="1000")
    assert found.returncode == 0
    assert f"threadchat: SKIPPED: {told}\n" in found.stderr


def test_a_node_that_is_too_old_counts_as_missing(tree: Tree) -> None:
    tree.program("node", "#!/bin/sh\nexit 1\n")
    found = tree.run("scripts/test", STUB_UID="1000")
    assert "SKIPPED: the tests of threadchat.js" in found.stderr


# -- scripts/cluster ---------------------------------------------------------------------------------


def test_a_cluster_gets_what_it_needs_and_its_flags(tree: Tree) -> None:
    found = tree.run("scripts/cluster", "--nodes", "2", "--log-level", "a b", STUB_CLUSTER="3")
    assert found.returncode == 3
    calls = tree.calls()
    assert calls[1].endswith(f"--editable {tree.root}[all]")
    assert calls[2] == "clustering --nodes 2 --log-level a b"
    assert found.stdout == f"looking in {tree.root}/scripts\n"


@pytest.mark.parametrize("before", ["scripts/test", "scripts/cluster"])
def test_a_second_cluster_only_starts(tree: Tree, before: str) -> None:
    tree.run(before)
    tree.calls()
    assert tree.run("scripts/cluster").stderr == ""
    assert tree.calls() == ["clustering"]


def test_what_a_cluster_needs_is_enough_to_run(tree: Tree) -> None:
    tree.run("scripts/cluster")
    tree.calls()
    tree.run("scripts/run")
    assert tree.calls() == ["threadchat"]


def test_what_runs_alone_is_enough_for_a_cluster(tree: Tree) -> None:
    tree.run("scripts/run")
    tree.calls()
    tree.run("scripts/cluster")
    assert verbs(tree.calls()) == ["clustering"]


@pytest.mark.parametrize("server", ["redis-server", "nginx"])
def test_a_cluster_without_a_server_says_how_to_get_it(tree: Tree, server: str) -> None:
    (tree.bin / server).unlink()
    found = tree.run("scripts/cluster", STUB_UID="1000")
    assert found.returncode == 1
    assert found.stderr == (
        f"threadchat: {server} is not there. On Debian or Ubuntu run: sudo apt-get install {server}\n"
    )
    assert tree.calls() == []


# -- for those who carry it on -----------------------------------------------------------------------


def test_the_hooks_of_commits_run_what_is_there() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    [local] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert local["repo"] == "local", "nothing is downloaded"
    for hook in local["hooks"]:
        python, flag, module, *words = hook["entry"].split()
        assert (python, flag) == (".venv/bin/python", "-m")
        assert module in ("ruff", "mypy", "pytest")
        assert all((ROOT / word).exists() for word in words if word.startswith(("tests/", "threadchat")))


@pytest.mark.parametrize("name", ["bug", "docs", "wish"])
def test_an_issue_template_has_a_head(name: str) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    text = (ROOT / f".github/ISSUE_TEMPLATE/{name}.md").read_text(encoding="utf-8")
    _, head, body = text.split("---\n", 2)
    assert set(yaml.safe_load(head)) == {"name", "about", "labels"}
    assert body.strip()
