"""What the tests of plain/ take over from those of wire/."""

from __future__ import annotations

from tests.wire.conftest import certificate

__all__ = ["certificate"]
