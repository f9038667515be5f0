"""Runs a node with a fault put in by hand, so that tests can see whether scripts/faults finds it."""

from __future__ import annotations

import hashlib
import sys
from typing import Any

from threadchat.broker.redis import connection, publish_pipeline
from threadchat.cli.main import main
from threadchat.errors import CommandError


def ack_before_append() -> None:
    """A publisher is given a position even if Redis was never asked, or never answered."""
    send = publish_pipeline.PublishPipeline._send

    def careless(self: Any, batch: list[Any]) -> None:
        try:
            send(self, batch)
        except CommandError:
            for each in batch:
                epoch, offset, _ = each.known
                each.positions = [
                    publish_pipeline.Position(offset + number, epoch) for number in range(1, each.count + 1)
                ]

    publish_pipeline.PublishPipeline._send = careless  # type: ignore[method-assign]


def heal_without_epoch() -> None:
    """A log that has lost its end goes on in the same epoch."""
    script = connection.ROOM
    healed = script.source.replace(b"\n  check_lost()\n", b"\n")
    if healed == script.source:
        raise SystemExit("room.lua looks for lost events in another way now; put the fault in there")
    script.source = healed
    script.sha = hashlib.sha1(healed, usedforsecurity=False).hexdigest()


FAULTS = {"ack-before-append": ack_before_append, "heal-without-epoch": heal_without_epoch}

if __name__ == "__main__":
    FAULTS[sys.argv[1]]()
    sys.exit(main(sys.argv[2:]))
