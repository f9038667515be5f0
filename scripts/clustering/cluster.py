"""Redis, nodes and nginx together: starts and stops them in order, also after errors."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from clustering.parts import Nginx, Node, Redis
from clustering.programs import Program
from clustering.redis_cluster import RedisCluster

NODES = 3


class Cluster:
    """A cluster as a context manager, used on one thread; leaving the block stops all programs."""

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int = NODES,
        port: int = 0,
        by_room: bool = False,
        redis_cluster: bool = False,
        replicas: int = 1,
        flags: Sequence[str] = (),
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`folder` is for data and logs. `port` is for nginx; 0 chooses a free one. `by_room` keeps
        people of a room on few nodes. `redis_cluster` runs a Redis Cluster of three masters, with so many
        `replicas` each, instead of one Redis. `flags` go to all nodes.

        `check` is called repeatedly while the programs start; an exception from it stops the start.
        """
        self._check = check
        folder.chmod(0o711)  # if root starts nginx, its workers run as another user, in a folder below
        self.store = RedisCluster(folder, replicas) if redis_cluster else Redis(folder)
        self.nodes = [Node(number, self.store.url, folder, flags) for number in range(1, nodes + 1)]
        self.nginx = Nginx(self.nodes, folder, port, by_room=by_room)

    @property
    def programs(self) -> list[Program]:
        """All programs, in the order in which they start."""
        return [*self.store.programs, *self.nodes, self.nginx]

    @property
    def url(self) -> str:
        """The URL of the page, behind nginx."""
        return self.nginx.url

    @property
    def chat_url(self) -> str:
        """The URL of the WebSocket, behind nginx."""
        return f"ws://127.0.0.1:{self.nginx.port}/chat"

    def __enter__(self) -> Cluster:
        """Starts all programs. Raises ProgramFailed and exceptions of `check`; then nothing runs."""
        with ExitStack() as undo:
            undo.callback(self.stop)
            self.store.start(self._check)
            for node in self.nodes:
                node.launch()
            for node in self.nodes:
                node.await_ready(self._check)
            self.nginx.start(self._check)
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops all programs, the nodes first, so that their last messages still reach nginx and Redis."""
        for group in (self.nodes, [self.nginx], self.store.programs):
            for program in group:
                program.send_signal(signal.SIGCONT)  # a paused program would not handle SIGTERM
                program.send_signal(signal.SIGTERM)
            for program in group:
                program.wait()
