"""Fuzzes the frame parser with atheris, which is guided by coverage and needs no grammar."""

# ruff: noqa: T201 (it is a command: printing is its job)
from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

SCRIPTS = Path(__file__).resolve().parents[1]
MOST = 1000  # bytes of a message


def run(seconds: int, seed: int) -> int:
    """Runs in a new process, because the instrumented modules must be imported after atheris."""
    environ = {**os.environ, "PYTHONPATH": f"{SCRIPTS}{os.pathsep}{SCRIPTS.parent}"}
    command = [sys.executable, "-m", "fuzzing.guided", str(seconds), str(seed)]
    with tempfile.TemporaryDirectory() as folder:  # it writes its findings to the working directory
        ended = subprocess.run(command, cwd=folder, env=environ, check=False)
        for found in Path(folder).iterdir():
            print(f"fuzz: {found.name}: {found.read_bytes()!r}")
    return ended.returncode


def fuzz(seconds: int, seed: int) -> None:
    """Ends the process, with exit code 0 if nothing was found."""
    try:
        import atheris  # type: ignore[import-not-found]
    except ImportError:
        sys.exit("fuzz: atheris is not installed here; on Linux: pip install atheris")
    with atheris.instrument_imports(include=["threadchat", "wsproto", "simple_websocket"]):
        from tests.wire.protocol.test_parser_fuzz import Role, check_segmentation

    def one(data: bytes) -> None:
        """Checks one input; its first byte selects the role and the segmentation."""
        if data:
            random = Random(data[0])
            cuts = [random.randrange(1, 4000) for _ in range(data[0] >> 5)]
            masks = data[0] & 1 == 1
            check_segmentation(data[1:], Role(masks, masks and data[0] & 2 == 2), cuts, MOST)

    options = [f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=600"]
    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    fuzz(int(sys.argv[1]), int(sys.argv[2]))
