"""What is measured of a cluster: who takes part, in which workloads, and which figures count."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmark.workloads import DELIVERIES, P50, P99, PUBLICATIONS, Metric, Workload

NODES_CPU = Metric("server_cpu", "nodes' CPU", "%", more_is_better=False, scale=100)
LOAD_CPU = Metric("load_cpu", "load CPU", "%", more_is_better=False, scale=100)
ROUND_TRIPS = Metric("round_trips_per_message", "round trips a message", "", more_is_better=False)
SCRIPTS = Metric("scripts_per_message", "script calls a message", "", more_is_better=False)
SCRIPT_CPU = Metric("redis_us_per_script", "Redis CPU a script call", "us", more_is_better=False)
REDIS_CPU_EACH = Metric("redis_us_per_message", "Redis CPU a message", "us", more_is_better=False)
REDIS_CPU = Metric("redis_cpu", "Redis CPU", "%", more_is_better=False, scale=100)
REDIS_NODES = Metric("nodes_per_redis_core", "busy nodes a Redis core", "")
REDIS_MOST = Metric("messages_per_redis_core", "messages a Redis core", "/s")

MEMBERS = 300  # divides evenly by 1, 2 and 3 nodes
SENDERS = (1, 6)
WINDOWS = (1, 16, 64)
NODES = (1, 2, 3)


@dataclass(frozen=True)
class Setup:
    """So many nodes, in memory or over so many Redis masters; several are a Redis Cluster.

    `fsync` is Redis's appendfsync; empty: it writes nothing down.
    """

    name: str
    nodes: int = 1
    masters: int = 0
    fsync: str = ""
    workloads: tuple[str, ...] = ()  # that it is measured in; empty: in all
    in_quick: tuple[str, ...] = ()  # likewise, of the quick ones; empty: in none


def room(senders: int, window: int) -> Workload:
    people = "1 sends" if senders == 1 else f"{senders} send"
    return Workload(
        f"room-{MEMBERS}-s{senders}-w{window}",
        f"one room of {MEMBERS} on all nodes, of whom {people}, {window} outstanding each",
        (PUBLICATIONS, DELIVERIES, P50, P99),
        MEMBERS,
        talkers=senders,
        window=window,
        in_quick=(senders, window) == (6, 16),
    )


BUSY_ROOMS = Workload(
    "rooms-50x6-w1",
    "50 rooms of 6, each on all nodes, 1 of each sends, 1 outstanding each",
    (PUBLICATIONS, DELIVERIES, P50, P99),
    300,
    groups=50,
    window=1,
)
CALM_ROOMS = Workload(
    "rooms-50x6",
    "50 rooms of 6, each on all nodes, everybody says something once a second",
    (P50, P99, DELIVERIES),
    300,
    groups=50,
    talkers=6,
    rate=1,
    seconds=4,
    in_quick=True,
)

# Whoever says nothing costs something, too: each node looks after each of its rooms every 5 s. Two such
# intervals are measured, and there are just enough messages for the figures that count by message.
QUIET_ROOMS = Workload(
    "rooms-250x6-quiet",
    "250 rooms of 6, each on all nodes, 1 of each says something every 25 s",
    (P50, P99),
    1500,
    groups=250,
    talkers=1,
    rate=0.04,
    seconds=10,
    most_rounds=1,
)

IN_MEMORY = Setup("1 node, memory", in_quick=(room(6, 16).name,))
LASTING = Setup(
    f"{NODES[-1]} nodes, fsync 1/s",
    NODES[-1],
    masters=1,
    fsync="everysec",
    workloads=("room-300-s1-w1", "room-300-s6-w64", CALM_ROOMS.name),
)
CLUSTERED = Setup(
    f"{NODES[-1]} nodes, 3 masters",
    NODES[-1],
    masters=3,
    workloads=("room-300-s6-w16", BUSY_ROOMS.name, CALM_ROOMS.name, QUIET_ROOMS.name),
    in_quick=(CALM_ROOMS.name,),
)


def _over_redis(nodes: int) -> Setup:
    name = f"{nodes} node{'s' * (nodes > 1)}, Redis"
    return Setup(name, nodes, masters=1, in_quick=(room(6, 16).name,) if nodes == 2 else ())


def all_setups() -> list[Setup]:
    """Return who is measured; the first is what the others are compared with."""
    return [IN_MEMORY, *map(_over_redis, NODES), LASTING, CLUSTERED]


def quick_setups() -> list[Setup]:
    """Return who is measured in a quick run: each kind once."""
    return [replace(one, workloads=one.in_quick) for one in all_setups() if one.in_quick]


def all_workloads() -> list[Workload]:
    """Return every workload, in the order of measuring."""
    one_room = (room(senders, window) for senders in SENDERS for window in WINDOWS)
    return [*one_room, BUSY_ROOMS, CALM_ROOMS, QUIET_ROOMS]
