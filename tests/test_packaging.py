"""Builds the wheel and the sdist, and holds them to what the index and type checkers want of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from threadchat.version import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

pytest.importorskip("build")
pytest.importorskip("hatchling")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both files."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=110)
    return folder


def wheel(built: Path) -> zipfile.ZipFile:
    [path] = built.glob("*.whl")
    assert path.name == f"threadchat-{__version__}-py3-none-any.whl"
    return zipfile.ZipFile(path)


def test_twine_has_nothing_to_say(built: Path) -> None:
    pytest.importorskip("twine")
    files = [str(path) for path in built.iterdir()]
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


def test_the_wheel_has_all_that_is_used(built: Path) -> None:
    with wheel(built) as packed:
        names = set(packed.namelist())
    tracked = ["py.typed", "server/http/page/index.html", "server/admin/ops/index.html"]
    tracked += ["server/browser/threadchat.js", "examples/flask_app.py", "examples/deploy/nginx.conf"]
    tracked += [f"docs/{path.name}" for path in (ROOT / "threadchat/docs").iterdir() if path.is_file()]
    assert {f"threadchat/{name}" for name in tracked} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests", "scripts"))]


def test_the_installed_package_has_examples_and_documentation(built: Path, tmp_path: Path) -> None:
    with wheel(built) as packed:
        packed.extractall(tmp_path / "site")
    for words in (["example", "django", "."], ["example", "nginx", "."], ["docs", "troubleshooting"]):
        done = subprocess.run(
            [sys.executable, "-m", "threadchat", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
            capture_output=True,
            text=True,
            check=False,
            timeout=110,
        )
        assert (done.returncode, done.stderr) == (0, "")
    for name in ("django_app.py", "django_people/models.py", "pages/django_app.js", "nginx.conf"):
        assert (tmp_path / name).is_file()
    assert done.stdout.startswith("# Troubleshooting\n")


def test_the_sdist_can_be_built_and_tested(built: Path) -> None:
    [path] = built.glob("*.tar.gz")
    with tarfile.open(path) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    for wanted in ("pyproject.toml", "README.md", "LICENSE", "tests/test_packaging.py"):
        assert wanted in names
    assert {"scripts/test", "scripts/readme_links.py"} <= names


def test_the_description_has_absolute_links_only(built: Path) -> None:
    with wheel(built) as packed:
        text = packed.read(f"threadchat-{__version__}.dist-info/METADATA").decode()
    metadata = Parser().parsestr(text)
    assert metadata["Description-Content-Type"] == "text/markdown"
    description = metadata.get_payload()
    links = re.findall(r"\]\(([^)]+)\)", description)
    assert len(links) > 30
    assert [link for link in links if not link.startswith("https://")] == []
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(re.findall(r"\]\(([^)]+)\)", readme)) == len(links)
    [picture] = [link for link in links if link.endswith("page.png")]
    assert "/raw/" in picture


def test_each_python_that_is_named_is_new_enough() -> None:
    found = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
    assert found == ["3.11", "3.12", "3.13"]
    assert PROJECT["project"]["requires-python"] == f">={found[0]}"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"CPython {', '.join(found[:-1])} and {found[-1]}" in readme


def test_this_version_is_in_the_changelog() -> None:
    text = (ROOT / "threadchat/docs/changelog.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)$", text, re.MULTILINE)[0] == __version__


def test_a_misspelt_name_is_answered_with_the_right_one() -> None:
    import threadchat

    with pytest.raises(AttributeError, match=r"has no attribute 'Chatt'; did you mean Chat\?"):
        threadchat.Chatt  # noqa: B018
