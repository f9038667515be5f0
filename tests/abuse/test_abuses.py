"""Every abuse of scripts/abuse, less of each, beside two healthy people; no time is judged."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.process import ServerProcess

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from abusing.abuse import Abuse
from abusing.attempt import attempt
from abusing.catalogue import ABUSES
from abusing.served import AbusedServer
from watching.pair import HealthyPair

Place = tuple[ServerProcess, HealthyPair]

pytestmark = pytest.mark.timeout(400)  # the last one ends more than ten servers, after each other


@pytest.fixture(scope="module")
def place_for(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Abuse], Place]]:
    """One server for all abuses of the same settings: what one leaves behind, the next one finds."""
    folder = tmp_path_factory.mktemp("abuse")
    places: dict[object, Place] = {}

    def start(abuse: Abuse) -> Place:
        settings = abuse.flags, abuse.descriptors
        if settings not in places:
            server = AbusedServer(folder / f"server-{len(places)}.log", abuse)
            places[settings] = server, HealthyPair(server.port, newcomers=abuse.newcomers)
        server, pair = places[settings]
        if pair.health().faults:  # of an abuse before, whose test has failed
            pair.stop()
            places[settings] = server, HealthyPair(server.port, newcomers=abuse.newcomers)
        return places[settings]

    yield start
    for _, pair in places.values():
        pair.stop()
    codes = [server.stop() for server, _ in places.values()]
    assert not any(codes), "a server did not end as it should after it was abused"


@pytest.mark.parametrize("abuse", ABUSES, ids=[abuse.name for abuse in ABUSES])
def test_others_notice_nothing(abuse: Abuse, place_for: Callable[[Abuse], Place]) -> None:
    server, pair = place_for(abuse)
    result = attempt(abuse, server, pair, quick=True)
    pair.health(hush=True)  # the next server may be another one
    assert result.breaches(timed=False) == []
    assert (result.health.newcomers > 0) == abuse.newcomers


def test_the_table_of_what_one_stranger_can_take_names_abuses_that_exist() -> None:
    text = (Path(__file__).parents[2] / "threadchat/docs/security.md").read_text()
    commands = re.findall(r"`scripts/abuse ([^`]+)`", text.partition("can take")[2])
    named = [name for command in commands for name in shlex.split(command) if not name.startswith("--")]
    assert len(named) >= 8
    for name in named:
        assert any(name in abuse.name for abuse in ABUSES), name


def test_every_abuse_has_a_name_of_its_own() -> None:
    assert len({abuse.name for abuse in ABUSES}) == len(ABUSES)
