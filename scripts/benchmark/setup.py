"""Sets up everything that measuring needs, and finds which servers can be measured here."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable
from pathlib import Path

from benchmark import environment, toolchain
from benchmark.environment import Say
from benchmark.measurement import Tools
from benchmark.servers import Server

PROJECT = Path(__file__).parents[2]
HOME = PROJECT / ".venv-bench"


def _go_hub(given: argparse.Namespace, servers: Iterable[Server], say: Say) -> Path | str:
    if not any(server.in_go for server in servers):
        return "not asked for"
    return toolchain.go_hub(HOME, may_install=not (given.quick or given.no_setup), say=say)


def redis(given: argparse.Namespace, python: Path, say: Say) -> Path | str:
    """Return a Redis server that `python` can speak to, or the reason why there is none."""
    program = toolchain.redis_server(may_install=not (given.quick or given.no_setup), say=say)
    if isinstance(program, str) or "redis" in environment.importable(python, ["redis"], PROJECT):
        return program
    complaint = "install threadchat[redis] there"
    if not given.no_setup:
        complaint = environment.add_extra(python, PROJECT, "redis")
    return f"{python} cannot import redis: {complaint}" if complaint else program


def _why_not(server: Server, tools: Tools, found: set[str], hub: Path | str, store: Path | str) -> str:
    """Return the reason why `server` cannot be measured here; empty if it can."""
    if server.in_go:
        return hub if isinstance(hub, str) else ""
    if server.needs_redis and isinstance(store, str):
        return store
    return "" if server.module in found else f"{tools.python} cannot import {server.module}"


def set_up(given: argparse.Namespace, servers: list[Server], say: Say) -> tuple[Tools, list[Server]]:
    """Return the tools and the servers that can run here. Prints a line for each other server."""
    HOME.mkdir(exist_ok=True)
    (HOME / ".gitignore").write_text("*\n")
    python = Path(given.python)
    if not given.no_setup:
        python = environment.prepare(given.python, PROJECT, HOME, say)
    hub = _go_hub(given, servers, say)
    store = redis(given, python, say) if any(one.needs_redis for one in servers) else "not asked for"
    tools = Tools(
        PROJECT,
        python,
        toolchain.load_generator(HOME),
        hub if isinstance(hub, Path) else None,
        tuple(shlex.split(given.our_arguments)),
        store if isinstance(store, Path) else None,
    )
    found = environment.importable(python, {server.module for server in servers if server.module}, PROJECT)
    reasons = {server: _why_not(server, tools, found, hub, store) for server in servers}
    for server, reason in reasons.items():
        if reason:
            say(f"left out: {server.name}: {reason}")
    return tools, [server for server in servers if not reasons[server]]


def output(given: argparse.Namespace) -> Path:
    """Return the directory for the results; it has one for the logs."""
    out: Path = (given.out or PROJECT / "bench-results").resolve()
    (out / "logs").mkdir(parents=True, exist_ok=True)
    return out


def versions(tools: Tools, servers: Iterable[Server]) -> dict[str, str]:
    """Return the versions of everything that takes part."""
    found = environment.versions(tools.python, [name for server in servers for name in server.packages])
    return found | (toolchain.go_versions() if tools.go_hub else {})
