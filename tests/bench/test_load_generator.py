"""The load generator of the benchmark: it counts right, and finds what goes wrong."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock, Semaphore, Thread
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from tests.bench.bench_helpers import load_generator, needs_compiler
from tests.e2e.process import Child


@pytest.fixture(scope="module")
def load() -> Path:
    return load_generator()


Handler = Callable[[ServerConnection, set[ServerConnection]], None]


def relay(connection: ServerConnection, members: set[ServerConnection]) -> None:
    for message in connection:
        for member in list(members):
            member.send(message)


@contextmanager
def a_room(handler: Handler, members: set[ServerConnection] | None = None) -> Iterator[int]:
    """Serve one room, whose members `handler` looks after; yield its port. Several may share members."""
    members = set() if members is None else members

    def handle(connection: ServerConnection) -> None:
        members.add(connection)
        try:
            connection.send('{"in": 1}')
            handler(connection, members)
        except ConnectionClosed:
            pass
        finally:
            members.discard(connection)

    with serve(handle, "127.0.0.1", 0, compression=None) as server:
        thread = Thread(target=Server.serve_forever, args=(server,), name="room", daemon=True)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join()


def generate(load: Path, port: int | str, *words: str) -> dict[str, Any]:
    """Let ten members hear one talker, unless `words` say otherwise."""
    common = ["--ready=in", "--publish", '{"message":"{marker}"}', "--connections=10", "--talkers=1"]
    times = ["--settle=0.02", "--warmup=0", "--seconds=0.2", "--drain=0.3"]
    command = [str(load), f"--port={port}", *times, *common, *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


RETURNERS = (
    *("--returners=4", "--rate=50", "--warmup=0.2", "--seconds=20", "--drain=2"),
    *("--hello=hello", "--ready=re=1", "--level=live", "--again=again {n} {resume} {offset} {epoch}"),
)


def returning(replay: bool, turn_away: int = 0) -> Handler:
    """Greet everybody, and let those live who come back, after what was said so far if they are to get it."""
    lock, said, refused = Lock(), [], Semaphore(turn_away)
    live: set[ServerConnection] = set()

    def handle(connection: ServerConnection, members: set[ServerConnection]) -> None:
        hello = str(connection.recv())
        if hello != "hello" and refused.acquire(blocking=False):
            return
        with lock:
            live.add(connection)
            if hello == "hello":
                connection.send(json.dumps({"re": 1, "resume": "a token", "offset": 7, "epoch": "e"}))
            else:
                assert hello.split(" ", 2)[2] == '"a token" 7 "e"'
                for message in said if replay else ():
                    connection.send(message)
                connection.send("live")
        for message in connection:
            with lock:
                said.append(message)
                for member in list(live):
                    with suppress(ConnectionClosed):
                        member.send(message)

    return handle


@needs_compiler
class TestLoadGenerator:
    def test_counts_what_everybody_gets(self, load: Path) -> None:
        with a_room(relay) as port:
            figures = generate(load, port, "--window=2")
        assert figures["ready"] == figures["served"] == 10
        assert 0 < figures["deliveries"] <= 10 * figures["sent"]
        assert figures["missing"] == figures["out_of_order"] == figures["strangers"] == figures["closed"] == 0
        assert 0 < figures["latency_p50_ms"] <= figures["latency_p99_ms"] <= 1.05 * figures["latency_max_ms"]

    def test_keeps_to_a_rate_whatever_comes_back(self, load: Path) -> None:
        def swallow(connection: ServerConnection, members: set[ServerConnection]) -> None:
            for _ in connection:
                pass

        with a_room(swallow) as port:
            figures = generate(load, port, "--rate=100", "--talkers=2")
        assert figures["sent"] == 2 * 100 * 0.2
        assert figures["deliveries"] == figures["served"] == 0
        assert figures["missing"] == 10 * figures["sent"]
        assert figures["latency_p50_ms"] > 0, "what never came counts with the time it was waited for"

    def test_finds_a_hole(self, load: Path) -> None:
        def lossy(connection: ServerConnection, members: set[ServerConnection]) -> None:
            for number, message in enumerate(connection):
                for member in list(members):
                    if number != 3 or member is not connection:
                        member.send(message)

        with a_room(lossy) as port:
            figures = generate(load, port, "--rate=100")
        assert figures["out_of_order"] == 1

    def test_finds_what_changed_places(self, load: Path) -> None:
        def swap(connection: ServerConnection, members: set[ServerConnection]) -> None:
            for first in connection:
                for message in (connection.recv(), first):
                    for member in list(members):
                        member.send(message)

        with a_room(swap) as port:
            figures = generate(load, port, "--window=4")
        assert figures["out_of_order"] > 0

    def test_finds_what_came_twice(self, load: Path) -> None:
        def repeat(connection: ServerConnection, members: set[ServerConnection]) -> None:
            for message in connection:
                for member in list(members) * 2:
                    member.send(message)

        with a_room(repeat) as port:
            figures = generate(load, port, "--window=1")
        assert figures["out_of_order"] > 0

    def test_finds_what_went_to_somebody_else(self, load: Path) -> None:
        with a_room(relay) as port:
            figures = generate(load, port, "--groups=2", "--window=1")
        assert figures["strangers"] > 0

    def test_reports_a_close_with_its_code(self, load: Path) -> None:
        def leave(connection: ServerConnection, members: set[ServerConnection]) -> None:
            connection.recv()
            connection.close(4321, "enough")

        with a_room(leave) as port:
            figures = generate(load, port, "--window=1")
        assert figures["closed"] == 1
        assert figures["first_fault"] == "closed: 4321 enough"

    def test_goes_on_when_a_member_is_lost(self, load: Path) -> None:
        def quit_after_one(connection: ServerConnection, members: set[ServerConnection]) -> None:
            for message in connection:
                for member in list(members):
                    member.send(message)
                if (other := next((one for one in members if one is not connection), None)) is not None:
                    members.discard(other)
                    other.close()

        with a_room(quit_after_one) as port:
            figures = generate(load, port, "--window=1")
        assert 1 <= figures["closed"] <= 9  # as many as the machine had time for
        assert figures["sent"] > figures["closed"]
        assert figures["missing"] == 0

    def test_stalled_members_do_not_count(self, load: Path) -> None:
        with a_room(relay) as port:
            figures = generate(load, port, "--window=1", "--stalled=1")
        assert figures["ready"] == 11
        assert figures["served"] == 10
        assert figures["missing"] == 0

    def test_answers_pings(self, load: Path) -> None:
        answered: list[bool] = []

        def ping(connection: ServerConnection, members: set[ServerConnection]) -> None:
            answered.append(connection.ping().wait(timeout=10))
            for _ in connection:
                pass

        with a_room(ping) as port:
            generate(load, port, "--talkers=0")
        assert answered == [True] * 10

    def test_greets_and_learns_who_it_is(self, load: Path) -> None:
        heard: list[int] = []

        def greet(connection: ServerConnection, members: set[ServerConnection]) -> None:
            hello = str(connection.recv())
            connection.send(json.dumps({"type": "ok", "re": 1, "user": 700 + int(hello[1:])}))
            for message in connection:
                heard.append(json.loads(message)["to"])

        with a_room(greet) as port:
            words = [
                "--hello=u{n}",
                "--identity=user",
                "--ready=re=1",
                '--publish={"to":{to},"m":"{marker}"}',
            ]
            figures = generate(
                load, port, "--connections=4", "--groups=2", "--talkers=2", "--direct", "--window=1", *words
            )
        assert figures["ready"] == 4
        assert sorted(heard) == [700, 701, 702, 703]

    def test_returners_present_what_they_were_told_and_get_what_they_missed(self, load: Path) -> None:
        with a_room(returning(replay=True)) as port:
            figures = generate(load, port, *RETURNERS)
        assert figures["connections"] == figures["ready"] == 14
        assert figures["sent"] > 0
        assert figures["served"] == 10
        assert figures["missing"] == figures["out_of_order"] == figures["errors"] == figures["retries"] == 0

    def test_finds_what_a_returner_does_not_get(self, load: Path) -> None:
        with a_room(returning(replay=False)) as port:
            figures = generate(load, port, *RETURNERS, "--drain=0.2")
        assert figures["ready"] == 14
        assert figures["missing"] + figures["out_of_order"] > 0

    def test_returners_who_are_turned_away_try_again(self, load: Path) -> None:
        with a_room(returning(replay=True, turn_away=2)) as port:
            figures = generate(load, port, *RETURNERS)
        assert figures["retries"] == 2
        assert figures["ready"] == 14
        assert figures["closed"] == figures["failed"] == figures["missing"] == 0

    def test_spreads_each_group_over_several_servers(self, load: Path) -> None:
        met: dict[int, int] = {}

        def count_and_relay(connection: ServerConnection, members: set[ServerConnection]) -> None:
            port = connection.local_address[1]
            met[port] = met.get(port, 0) + 1
            relay(connection, members)

        everybody: set[ServerConnection] = set()
        with a_room(count_and_relay, everybody) as one, a_room(count_and_relay, everybody) as other:
            figures = generate(load, f"{one},{other}", "--window=2", "--talkers=2")
        assert met == {one: 5, other: 5}
        assert figures["ready"] == figures["served"] == 10
        assert figures["missing"] == figures["out_of_order"] == figures["strangers"] == figures["closed"] == 0

    def test_finds_what_one_of_several_servers_does_not_deliver(self, load: Path) -> None:
        with a_room(relay) as one, a_room(relay) as other:  # each for itself
            figures = generate(load, f"{one},{other}", "--rate=100")
        assert figures["served"] == 5
        assert figures["missing"] == 5 * figures["sent"] > 0

    def test_halts_where_it_is_told_to(self, load: Path) -> None:
        with a_room(relay) as port:
            command = [str(load), f"--port={port}", "--publish={marker}", "--connections=2", "--talkers=1"]
            command += ["--window=1", "--warmup=0", "--seconds=0.1", "--halt"]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            with Child(command, text=True, **pipes) as process:
                assert process.stderr.readline() == "opened\n"
                assert process.poll() is None
                process.stdin.write("\n")
                process.stdin.flush()
                assert process.stderr.readline() == "talked\n"
                output, _ = process.communicate("\n", timeout=30)
        assert json.loads(output)["ready"] == 2

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            (["--port=80,x"], "commas"),
            ([f"--port={','.join('123456789' * 2)}"], "at most 16"),
            (["--groups=3"], "multiple"),
            (["--talkers=11"], "talkers"),
            (["--publish=x"], "marker"),
            (["--nonsense"], "nonsense"),
            (["--window=1", "--rate=1"], "either"),
        ],
    )
    def test_says_what_is_wrong_with_its_options(self, load: Path, words: list[str], complaint: str) -> None:
        assert complaint in generate(load, 1, *words)["error"]

    def test_says_that_nobody_is_there(self, load: Path) -> None:
        figures = generate(load, 1, "--window=1")
        assert figures["ready"] == 0
        assert "refused" in figures["first_fault"]
