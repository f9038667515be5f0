"""Writes the tables of python-api.md that come from the code: python -m tests.docs.reference."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping

import threadchat
from tests.docs.pages import DOCS

PAGE = DOCS / "python-api.md"


def first_line(thing: object) -> str:
    """The first paragraph of a docstring. The page says itself that every thread may call everything."""
    text = (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")
    return text.removesuffix(" Runs on: any thread.")


def names() -> Iterator[tuple[str, str]]:
    """The names of the package."""
    for name in threadchat.__all__:
        yield f"`{name}`", first_line(getattr(threadchat, name))


def methods(thing: type, without: str = "") -> Iterator[tuple[str, str]]:
    """The public methods and properties of a class, and their parameters, except the one that all have."""
    for name, member in sorted(inspect.getmembers_static(thing)):
        function = getattr(member, "__func__", member)
        if name.startswith("_") or not (inspect.isfunction(function) or isinstance(member, property)):
            continue
        if isinstance(member, property):
            yield f"`{name}`", first_line(member)
        else:
            yield f"`{name}({arguments(function, without)})`", first_line(function)


def arguments(function: object, without: str) -> str:
    """The parameters without their types, optional ones in brackets."""
    found = []
    for name, parameter in inspect.signature(function).parameters.items():  # type: ignore[arg-type]
        if name not in ("self", without):
            star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
            needed = parameter.default is parameter.empty and not star
            found.append(name if needed else f"[{star}{name}]")
    return ", ".join(found)


def tables() -> Mapping[str, list[tuple[str, str]]]:
    """The rows of each table, by the heading above it."""
    return {
        "Methods of Chat": list(methods(threadchat.Chat)),
        "Methods of Client": list(methods(threadchat.Client, "timeout")),
        "Public names": list(names()),
    }


def main() -> int:
    """Puts the tables in place of those that are there."""
    text = PAGE.read_text(encoding="utf-8")
    for title, rows in tables().items():
        table = "".join(f"| {name} | {what} |\n" for name, what in rows)
        pattern = rf"(\n## {title}\n\n(?:[^|\n#].*\n|\n)*)(?:\|.*\n)*"
        text, count = re.subn(
            pattern, lambda found, table=table: f"{found[1]}| | |\n|---|---|\n{table}", text
        )
        if count != 1:
            sys.exit(f"{PAGE} has no heading {title}")
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
