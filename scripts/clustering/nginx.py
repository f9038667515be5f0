"""Adapts the deployed nginx configuration to a local cluster: replaces addresses and folders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

DEPLOYED = Path(__file__).parents[1] / "deploy" / "nginx.conf"

_LISTEN = re.compile(r"(?<=\blisten )[^ ;]+")
_SERVERS = re.compile(r"(?P<indent>[ \t]*)server [^ ;{]+(?P<options>[^;{]*);\n(?:[ \t]*server [^;{]+;\n)*")
_FOLDER = re.compile(r"/tmp/")
_BY_ROOM = re.compile(r"# (?=hash )")


def configuration(listen: str, upstreams: Sequence[str], folder: Path, *, by_room: bool = False) -> str:
    """The deployed configuration, but listening on `listen`, in front of `upstreams`, writing to `folder`.

    Addresses are given as host:port. `by_room` uncomments the line that keeps people of a room on few nodes.
    Raises ValueError if the file lacks a value to replace.
    """
    text = DEPLOYED.read_text(encoding="utf-8")
    servers = _only(_SERVERS, text)
    line = f"{servers['indent']}server {{}}{servers['options']};\n"
    text = _SERVERS.sub("".join(line.format(upstream) for upstream in upstreams), text)
    _only(_LISTEN, text)
    text = _LISTEN.sub(listen, text)
    if by_room:
        _only(_BY_ROOM, text)
        text = _BY_ROOM.sub("", text)
    if not _FOLDER.search(text):
        raise ValueError(f"{DEPLOYED.name}: no path below /tmp/ to be replaced")
    return _FOLDER.sub(f"{folder}/", text)


def _only(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    found = list(pattern.finditer(text))
    if len(found) != 1:
        raise ValueError(f"{DEPLOYED.name}: expected one place for {pattern.pattern}, found {len(found)}")
    return found[0]
