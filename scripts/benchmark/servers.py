"""The servers to measure, threadchat and its peers: what each needs, and how it is started."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.dialects import NATIVE, PLAIN, Dialect

PEERS = Path(__file__).parent / "peers"
PEERS_PING_INTERVAL = 20.0  # seconds; the default of `websockets`


@dataclass(frozen=True)
class Server:
    """One server."""

    name: str
    dialect: Dialect
    program: str  # a file below peers/, or "-m MODULE"; {folder} and {redis} are made for each measurement
    module: str = ""  # what the interpreter must be able to import for it
    packages: tuple[str, ...] = ()  # whose versions are part of the result
    workloads: tuple[str, ...] = ()  # in which it takes part; empty: all that are not for threadchat alone

    @property
    def in_go(self) -> bool:
        """Whether it is built by Go rather than run by Python."""
        return self.program.endswith(".go")

    @property
    def is_ours(self) -> bool:
        """Whether it is a threadchat, with whatever arguments."""
        return self.program.startswith("-m ")

    @property
    def needs_redis(self) -> bool:
        """Whether it needs a Redis and redis-py."""
        return "{redis}" in self.program or "--workers" in self.program

    def command(
        self, python: Path, go_hub: Path | None, port: int, ping_interval: float | None, **places: str
    ) -> list[str]:
        """Return the command line that listens on `port`.

        `ping_interval` is in seconds, None the default; `places` stand for the braces in `program`.
        """
        if self.is_ours:
            ping = [] if ping_interval is None else ["--ping-interval", f"{ping_interval:g}"]
            words = [word.format(**places) for word in self.program.split()]
            return [str(python), *words, "--port", str(port), *ping]
        started = [str(go_hub)] if self.in_go else [str(python), str(PEERS / self.program)]
        return [*started, str(port), f"{ping_interval or PEERS_PING_INTERVAL:g}"]


OURS = Server("threadchat", NATIVE, "-m threadchat", "threadchat", ("simple-websocket", "msgspec"))

# Ours with an application, for the workloads in which the application sends.
SPEAKING = replace(OURS, program="-m scripts.benchmark.application")

# Ours without being pinned to one core, for the workloads in which that may matter.
UNPINNED = Server(
    "threadchat-unpinned",
    NATIVE,
    "-m threadchat --pin off",
    "threadchat",
    workloads=(
        "fanout-100-w1",
        "fanout-1000-w1",
        "fanout-1000-w4",
        "fanout-1000-w64",
        "direct-1000-w1",
        "direct-1000-w16",
        "rooms-50x20",
        "connects",
    ),
)


def _in_small_rooms(name: str, arguments: str) -> Server:
    rooms = ("rooms-50x20", "rooms-50x20-w16", "rooms-50x20-capacity")
    return Server(f"threadchat-{name}", NATIVE, f"-m threadchat {arguments}", "threadchat", workloads=rooms)


ALL_PEERS = (
    Server("floor", PLAIN, "floor.py", "select", workloads=("fanout-100-w1", "fanout-1000-w1")),
    Server("websockets.sync", PLAIN, "sync_websockets.py", "websockets", ("websockets",)),
    Server("websockets.asyncio", PLAIN, "asyncio_websockets.py", "websockets", ("websockets",)),
    Server("flask-sock", PLAIN, "threaded_flask_sock.py", "flask_sock", ("flask-sock", "flask", "werkzeug")),
    Server("picows", PLAIN, "asyncio_picows.py", "picows", ("picows",)),
    Server("go-hub", PLAIN, "gohub.go"),
    UNPINNED,
    _in_small_rooms("workers-2", "--workers 2"),
    _in_small_rooms("sqlite", "--broker sqlite:{folder}/chat.db"),
    _in_small_rooms("redis", "--broker {redis}"),
)
