"""What several tests of the doors start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.abuse.places import BROKERS, Places
from tests.broker.redis_server import why_not


@pytest.fixture(params=BROKERS)
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Places]:
    """Chats on each kind of broker in turn."""
    if request.param == "redis" and (reason := why_not()):
        pytest.skip(reason)
    made = Places(request.param, tmp_path)
    yield made
    made.close()
