"""Collects the messages that the program can print: texts of exceptions, refusals and lines of the log."""

from __future__ import annotations

import ast
import builtins
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.docs.pages import ROOT

PACKAGE = ROOT / "threadchat"
HOLE = "\0"
"""Stands for what varies in a message of the code, as an ellipsis does in the documentation."""
LOGGED = {"warning", "error", "exception", "critical"}
BUILT_IN = {
    name for name, made in vars(builtins).items() if isinstance(made, type) and issubclass(made, Exception)
}
HELPERS = {"ArgumentTypeError", "Denial", "ExceptionGroup", "Refusal", "complain", "refuse"}
HELPERS |= {"_bad", "_complain", "_end", "_mapped", "_met", "_refused", "_wrong", "bad", "connect_error"}
"""Functions and classes that make, raise or print an error out of a text."""


class Message(NamedTuple):
    """A text of the code, with holes where it varies."""

    path: str
    line: int
    text: str


def text_of(node: ast.AST) -> str | None:
    """A text of the code with holes where it varies; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[sdr]|%\.\d+[a-z]", HOLE, node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or HOLE for part in node.values)
    return None


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package by its path in it."""
    paths: list[Path] = sorted(PACKAGE.rglob("*.py"))
    return {str(path.relative_to(PACKAGE)): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


@cache
def texts() -> str:
    """All texts of the code that have a space in them, one a line."""
    found = []
    for module in modules().values():
        for node in ast.walk(module):
            text = text_of(node)
            if text and " " in text:
                found.append(text.replace("\n", " "))
    return "\n".join(found)


def exceptions() -> set[str]:
    """The names of all exceptions that the package defines."""
    found = {"Exception"} | BUILT_IN
    grown = True
    while grown:
        grown = False
        for module in modules().values():
            for node in ast.walk(module):
                if isinstance(node, ast.ClassDef) and node.name not in found:
                    bases = {
                        base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
                        for base in node.bases
                    }
                    if bases & found:
                        found.add(node.name)
                        grown = True
    return found


@cache
def messages() -> list[Message]:
    """The texts that are given to an exception, to a helper of one, or to the log at warning and above."""
    found = []
    makers = (exceptions() | LOGGED | HELPERS) - {"NotImplementedError"}
    for path, module in modules().items():
        for node in ast.walk(module):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name not in makers:
                continue
            for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
                text = text_of(argument)
                if text and " " in text.strip():
                    found.append(Message(path, node.lineno, text.replace("\n", " ")))
    return found


def pattern(quoted: str) -> str:
    """A regular expression for the messages that a quotation with ellipses means."""
    parts = [re.escape(part.strip()) for part in quoted.replace("`", "").split("…") if part.strip()]
    return r"[^\n]*?".join(parts)
