"""More connections than file descriptors, and idle connections."""

from __future__ import annotations

import time

from watching import process

from abusing.abuse import abuse
from abusing.stranger import Stranger, text, upgrade
from abusing.target import Answers, Target

HELLO = upgrade() + text({"type": "hello", "id": 1, "nickname": "mallory"})


@abuse("300 connections, 128 descriptors", "in", "waiting", descriptors=128, errors=300, newcomers=False)
def out_of_descriptors(target: Target) -> Answers:
    """Further connections wait; when one leaves, one of them gets in."""
    before = target.held().descriptors
    strangers = [target.connect() for _ in range(300)]
    for stranger in strangers:
        stranger.send(HELLO)
    target.until(lambda: "cannot accept connections" in target.log(), "the shortage to be noticed")
    target.until(
        lambda: sum(map(greeted, strangers)) >= target.held().descriptors - before,
        "all to be answered that there is room for",
    )
    admitted = [it for it in strangers if greeted(it)]
    waiting = [it for it in strangers if it not in admitted]
    target.measured["share of a core while out of descriptors"] = share(target, target.size(5, 1)), 0.20
    found = Answers({"in": len(admitted), "waiting": len(waiting)})
    admitted[0].sock.close()
    freed = time.monotonic()
    target.until(lambda: any(greeted(it) for it in waiting), "the first in the line to be let in")
    target.measured["seconds until it is back"] = time.monotonic() - freed, 3.0
    return found


@abuse("200 idle connections", "served")
def idle(target: Target) -> Answers:
    """Nothing happens, so the server must use no CPU time."""
    strangers = [target.enter() for _ in range(target.size(200, 30))]
    target.pair.health(hush=True)
    target.measured["share of a core while idle"] = share(target, target.size(10, 1)), 0.01
    target.pair.health()
    return Answers(stranger.served() for stranger in strangers)


def greeted(stranger: Stranger) -> bool:
    """Whether the server has accepted the handshake."""
    stranger.glance()
    return stranger.status == "101"


def share(target: Target, seconds: float) -> float:
    """The share of a core that the server uses, measured for a number of seconds."""
    used, began = process.cpu_seconds(target.pid), time.monotonic()
    time.sleep(seconds)
    return (process.cpu_seconds(target.pid) - used) / (time.monotonic() - began)


ALL = (out_of_descriptors, idle)
