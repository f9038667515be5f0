"""What the tests of `scripts/bench` share: its package, and its load generator, compiled once."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT / "scripts"))

from benchmark import setup, toolchain  # noqa: E402
from benchmark.measurement import Tools  # noqa: E402
from benchmark.servers import ALL_PEERS, OURS  # noqa: E402
from benchmark.workloads import all_workloads  # noqa: E402

SERVERS = {server.name: server for server in [OURS, *ALL_PEERS]}
WORKLOADS = {workload.name: workload for workload in all_workloads(1000)}
REDIS = toolchain.redis_server(may_install=False, say=print)

needs_compiler = pytest.mark.skipif(
    not (shutil.which("gcc") or shutil.which("cc")), reason="the load generator needs a C compiler"
)


def load_generator() -> Path:
    """Return the load generator where `scripts/bench` has it, which is compiled only if a source is newer."""
    return toolchain.load_generator(setup.HOME)


def tools(python: str = sys.executable) -> Tools:
    return Tools(PROJECT, Path(python), load_generator(), redis=REDIS if isinstance(REDIS, Path) else None)
