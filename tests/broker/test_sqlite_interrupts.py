"""An exception of a signal handler anywhere in a publication over SQLite: what is written is handed on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.broker.brokers import Outlet
from tests.chat.helpers import put, say
from tests.wire.interrupts import interrupted_everywhere
from threadchat.broker.sqlite import SqliteBroker
from threadchat.chat.log.events import Position


def test_what_an_interrupted_publisher_wrote_is_delivered_and_its_room_may_go(tmp_path: Path) -> None:
    broker = SqliteBroker(tmp_path / "chat.db")
    channel, outlet = broker.open("r"), Outlet()
    channel.attach(outlet)

    def prepare() -> tuple[Callable[[], object], Callable[[str], None]]:
        def check(place: str) -> None:
            (last,) = put(channel, *say("z"))
            assert outlet.got == list(range(1, last + 1)), place
            assert not channel._under_way, place

        return lambda: put(channel, *say("b")), check

    places = list(interrupted_everywhere(prepare, "broker/sqlite/channel.py"))
    assert any("hand_on" in place for place in places)
    page = channel.history(Position(0, channel.epoch), 1000, False)
    assert [item.event.id for item in page.records] == outlet.got
    assert channel.retire(lambda: True)
    broker.close()
