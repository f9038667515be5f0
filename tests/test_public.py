"""Walks everything that threadchat exports: each name says what it promises, each function has its types."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import threadchat
from threadchat import testing

ROOT = Path(threadchat.__file__).parents[1]
NAMES = [f"{home.__name__}.{name}" for home in (threadchat, testing) for name in home.__all__]


@pytest.fixture(params=NAMES)
def thing(request: pytest.FixtureRequest) -> Any:
    """Each exported thing in turn."""
    return pkgutil.resolve_name(request.param)


@cache
def namespace(module: str) -> dict[str, Any]:
    """What annotations in a module may name: its globals, and what it imports for type checkers alone."""
    names = dict(vars(sys.modules[module]))
    for node in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            exec(compile(ast.Module(node.body, []), module, "exec"), names)
    return names


def functions(thing: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """A function itself; of a class the public methods, properties, and what `with`, `for` and calls use."""
    if inspect.isfunction(thing):
        yield thing.__name__, thing
    if not inspect.isclass(thing):
        return
    for name, member in inspect.getmembers_static(thing):
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        written = inspect.isfunction(function) and is_ours(function)
        if written and (not name.startswith("_") or name in ("__init__", "__call__", "__iter__")):
            yield name, function


def is_ours(function: Any) -> bool:
    """Whether somebody wrote it here; a dataclass or named tuple brings functions of its own."""
    return function.__module__.startswith("threadchat") and function.__code__.co_filename.startswith(
        str(ROOT)
    )


def untyped(function: Callable[..., Any]) -> list[str]:
    """The parameters without a type, and `return` where that has none."""
    hints = get_type_hints(function, namespace(function.__module__))
    names = [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]
    if function.__name__ != "__init__":
        names.append("return")
    return [name for name in names if name not in hints]


def test_each_name_says_what_it_promises(thing: Any) -> None:
    if not inspect.isclass(thing) and not inspect.isfunction(thing):
        return  # a number, say; its module tells about it
    said = thing.__doc__ or ""
    assert said, "no docstring"
    assert not said.startswith(f"{thing.__name__}("), "the docstring is a generated one"
    assert said.split("\n", 1)[0].rstrip().endswith((".", "?", ":")), "the first line is a sentence"


def test_each_method_says_what_it_promises(thing: Any) -> None:
    silent = [name for name, member in functions(thing) if not name.startswith("__") and not member.__doc__]
    assert silent == []


def test_each_function_is_typed(thing: Any) -> None:
    assert {name: missing for name, member in functions(thing) if (missing := untyped(member))} == {}


def test_the_tables_agree() -> None:
    for module in (threadchat, testing):
        assert list(module._HOMES) == module.__all__ == sorted(module.__all__)
        assert set(module.__all__) <= set(dir(module))
    assert (Path(threadchat.__file__).parent / "py.typed").is_file()


def test_a_name_that_is_not_there_is_named() -> None:
    with pytest.raises(AttributeError, match="'threadchat' has no attribute 'Rom'"):
        threadchat.Rom  # noqa: B018
    with pytest.raises(AttributeError, match=r"'threadchat\.testing' has no attribute 'Rom'"):
        testing.Rom  # noqa: B018


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        ("import threadchat", {"threadchat", "threadchat.version"}),
        ("import threadchat; dir(threadchat)", {"threadchat", "threadchat.version"}),
        ("import threadchat.testing", {"threadchat", "threadchat.testing", "threadchat.version"}),
    ],
)
def test_an_import_brings_no_more_than_asked_for(code: str, loaded: set[str]) -> None:
    assert {name for name in loaded_by(code) if name.startswith("threadchat")} == loaded


@pytest.mark.parametrize("name", ["Room", "Hub", "Config", "JsonLines", "MemoryBroker"])
def test_rooms_need_no_server(name: str) -> None:
    loaded = loaded_by(f"from threadchat import {name}")
    server = {"server", "client", "plain", "terminal", "testing", "cli"}
    assert not {f"threadchat.{wing}" for wing in server} & loaded
    assert not {"simple_websocket", "wsproto", "h11", "redis"} & loaded


def loaded_by(code: str) -> set[str]:
    """The modules of a fresh interpreter that ran so much."""
    return set(python(f"{code}\nimport sys; print(*sys.modules)").split())


def python(code: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout


def test_help_shows_the_whole_of_it() -> None:
    shown = python("import pydoc, threadchat; print(pydoc.plain(pydoc.render_doc(threadchat)))")
    for name in threadchat.__all__:
        assert name in shown
    assert len(threadchat.__doc__ or "") > 500, "the package tells where to begin"


# -- the checks themselves ---------------------------------------------------------------------------


class Half:
    def loud(self, number) -> None:  # type: ignore[no-untyped-def]
        """Says something."""

    def silent(self, number: int):  # type: ignore[no-untyped-def]
        pass


def test_what_is_missing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.is_ours", lambda function: True, raising=True)
    assert dict(functions(Half)) == {"loud": Half.loud, "silent": Half.silent}
    assert untyped(Half.loud) == ["number"]
    assert untyped(Half.silent) == ["return"]
