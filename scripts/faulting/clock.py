"""Wall clocks that jump: each program reads its own, through a library that is preloaded."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import Final

from clustering.programs import ProgramFailed, executable

SOURCE: Final = Path(__file__).with_name("clock.c")


class Clock:
    """The wall clock of one program. Monotonic clocks stay as they are."""

    def __init__(self, file: Path, library: Path) -> None:
        self._file = file
        self.set(0.0)
        self.environ = {"LD_PRELOAD": str(library), "FAULTING_CLOCK": str(file)}
        """For the environment of the program."""

    def set(self, seconds: float) -> None:
        """So much later than it is, at once."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", round(seconds * 1e9)))


def build(folder: Path) -> Path | None:
    """Compiles the library. Returns None where there is no C compiler for it."""
    library = folder / "clock.so"
    try:
        command = [executable("cc"), "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
        subprocess.run(command, check=True, capture_output=True)
    except (ProgramFailed, subprocess.CalledProcessError):
        return None
    return library
