"""Redis, nodes and nginx together: started in order, ended in order, whatever goes wrong in between."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from clustering.parts import Nginx, Node, Redis
from clustering.programs import Program

NODES = 3


class Cluster:
    """To be used on one thread, as a context manager: whatever was started has ended at the end."""

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int = NODES,
        port: int = 0,
        flags: Sequence[str] = (),
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`folder` takes data and logs; `port` is nginx's, 0 takes a free one; `flags` go to every node.

        `check` is called again and again while the programs start; what it raises ends that.
        """
        self._check = check
        folder.chmod(0o711)  # started by root, nginx works as somebody else, in a folder below
        self.redis = Redis(folder)
        self.nodes = [Node(number, self.redis.url, folder, flags) for number in range(1, nodes + 1)]
        self.nginx = Nginx(self.nodes, folder, port)

    @property
    def programs(self) -> list[Program]:
        """All of them, in the order in which they start."""
        return [self.redis, *self.nodes, self.nginx]

    @property
    def url(self) -> str:
        """Where the page is, behind nginx."""
        return self.nginx.url

    @property
    def chat_url(self) -> str:
        """Where the WebSocket is, behind nginx."""
        return f"ws://127.0.0.1:{self.nginx.port}/chat"

    def __enter__(self) -> Cluster:
        """Starts everything. Raises ProgramFailed, and what `check` raised; then nothing runs."""
        with ExitStack() as undo:
            undo.callback(self.stop)
            self.redis.start(self._check)
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
        """Ends everything: the nodes first, so that their goodbyes find nginx and Redis still there."""
        for group in (self.nodes, [self.nginx], [self.redis]):
            for program in group:
                program.send_signal(signal.SIGCONT)  # one that is paused would not hear of its end
                program.send_signal(signal.SIGTERM)
            for program in group:
                program.wait()
