"""`scripts/bench --cluster`: several nodes over Redis beside one node in memory."""

from benchmark.cluster.command import run
from benchmark.cluster.settings import all_workloads

__all__ = ["all_workloads", "run"]
