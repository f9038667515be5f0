"""Floods: what slow, silent, broken and late peers do to themselves, and what they must not do to others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.crowd import Crowd, Member
from tests.e2e.process import PATIENCE, ServerProcess, until
from tests.e2e.talker import Talker
from threadchat.config.settings import Config
from threadchat.server.chat import Chat

Serve = Callable[..., ServerProcess]

ROOM = "flood"
SMALL = 4096  # bytes of a receive buffer that soon stops the sender


@pytest.fixture
def crowd(chat_server: ServerProcess) -> Iterator[Crowd]:
    """Clients of a server with default settings."""
    with Crowd(chat_server.port) as clients:
        yield clients


def texts(count: int, size: int = 60) -> list[str]:
    """So many different messages, none shorter than `size`."""
    return [f"{number:06} ".ljust(size, ".") for number in range(count)]


def everything(members: list[Member], count: int) -> Callable[[], bool]:
    """Whether all of `members` have got so many messages, or have lost their connection."""
    return lambda: all(len(it.messages) >= count or it.closed is not None for it in members)


def check_all(members: list[Member], said: list[str]) -> None:
    """All of `members` are there and have got just this, in this order."""
    for member in members:
        assert member.closed is None
        assert member.faults == []
        assert member.messages == said
        assert member.has_no_hole()


def check_chat(server: ServerProcess) -> None:
    """Two people who come now chat as if nothing had been."""
    with Talker(server.ws) as ann, Talker(server.ws) as bob:
        ann.hello("ann")
        bob.hello("bob")
        ann.ask("join", room="quiet")
        bob.ask("join", room="quiet")
        ann.ask("message", room="quiet", message="hi")
        while bob.next().get("message") != "hi":
            pass


def test_a_stalled_peer_goes_and_a_slow_one_stays(serve: Serve) -> None:
    server = serve("--send-timeout", "2", "--write-timeout", "5")
    said = texts(750, size=4000)  # 3 MB: fits the room's log, and not into any outbox
    with Crowd(server.port) as crowd:
        healthy = crowd.enter(20, ROOM)
        (stalled,) = crowd.enter(1, ROOM, receive_buffer=SMALL)
        (slow,) = crowd.enter(1, ROOM, receive_buffer=65536)
        stalled.pace, slow.pace = 0, 100_000  # bytes a second
        before = server.resident_bytes()
        healthy[0].say(ROOM, said)
        crowd.run(everything(healthy, len(said)))
        crowd.run(lambda: "closed: 300" in server.log())
        # The deadlines that ended the stalled one pass over the slow one as well.
        crowd.run(slow.has(175))
        assert slow.closed is None, server.log()
        slow.pace = None
        crowd.run(everything([slow], len(said)))
        check_all([*healthy, slow], said)
        grown = server.peak_bytes() - before
        assert grown < 60_000_000
        (closed,) = re.findall(r"connection (\d+) .* closed: (\d+) ", server.log())
        assert closed[0] == "21"
        assert closed[1] in ("3008", "3009")
        stalled.pace = None
        crowd.run(lambda: stalled.closed is not None)
        assert stalled.has_no_hole()


def test_a_flood_drops_nobody(crowd: Crowd) -> None:
    members = crowd.enter(200, ROOM)
    said = texts(2000)
    members[0].say(ROOM, said)
    crowd.run(everything(members, len(said)))
    check_all(members, said)


@pytest.mark.parametrize("routing", ["directory", "router"])
def test_members_that_leave_by_a_reset_in_a_flood(serve: Serve, routing: str) -> None:
    server = serve("--routing", routing)
    with Crowd(server.port) as crowd:
        staying = crowd.enter(40, ROOM)
        leaving = crowd.enter(40, ROOM, receive_buffer=SMALL)
        said = texts(1000, size=300)
        staying[0].say(ROOM, said)
        for number, member in enumerate(leaving):
            crowd.run(staying[1].has(number * 20))
            member.reset()
        crowd.run(everything(staying, len(said)))
        check_all(staying, said)
        (late,) = crowd.enter(1, ROOM)
        crowd.run(lambda: len(crowd.ask(late, "who", room=ROOM)["users"]) == 41)
    check_chat(server)
    assert "Traceback" not in server.log()


def test_permits_come_back_after_resets() -> None:
    chat = Chat(Config(port=0))
    chat.listen()
    port = int(chat.url.rstrip("/").rpartition(":")[2])
    try:
        with Crowd(port) as crowd:
            for _ in range(5):
                sender, *leaving = crowd.enter(20, ROOM)
                sender.say(ROOM, texts(200, size=1000))
                for number, member in enumerate(leaving):
                    crowd.run(sender.has(number * 8))
                    member.reset()
                crowd.run(everything([sender], 200))
                sender.reset()
        until(lambda: repr(chat.turnstile) == "<Turnstile line=0 permits=2/2 free>", repr(chat.turnstile))
    finally:
        assert chat.drain(PATIENCE)


@pytest.mark.parametrize("routing", ["directory", "router"])
def test_64_senders_at_once(serve: Serve, routing: str) -> None:
    server = serve("--routing", routing)
    with Crowd(server.port) as crowd:
        members = crowd.enter(64, ROOM)
        for number, member in enumerate(members):
            member.say(ROOM, [f"{number} {text}" for text in texts(20)])
        crowd.run(everything(members, 64 * 20))
        check_all(members, members[0].messages)  # the same order for everybody
        for number in range(64):
            own = [text for text in members[0].messages if text.startswith(f"{number} ")]
            assert own == [f"{number} {text}" for text in texts(20)]


@pytest.mark.parametrize("command", ["subscribe", "join"])
def test_who_comes_in_a_flood_gets_the_log_and_then_what_is_live(serve: Serve, command: str) -> None:
    server = serve("--history-size", "10000")
    with Crowd(server.port) as crowd:
        sender, witness = crowd.enter(2, ROOM)
        since = {"offset": 0, "epoch": crowd.ask(witness, "history", room=ROOM)["epoch"]}
        late = crowd.connect(10)
        crowd.ask_all(late, "hello", nickname="late")
        said = texts(3000)
        for number, member in enumerate(late):
            sender.say(ROOM, said[number * 300 : number * 300 + 300])
            crowd.run(witness.has(number * 300 + 1))  # in the midst of them
            member.command(command, room=ROOM, since=since)
        crowd.run(everything([sender, witness, *late], len(said)))
        crowd.run(lambda: all(member.lives for member in late))
        check_all([witness, *late], said)
        for member in late:
            (reply,) = (reply for reply in member.replies.values() if "recovered" in reply)
            assert reply["recovered"] is True
            assert member.ids[0] == 1
            assert len(member.lives) == 1
        # The last ones came when there was a log to read.
        assert late[-1].lives[0] > 0


def test_who_listens_without_since_gets_all_from_the_offset_on(crowd: Crowd) -> None:
    sender, witness = crowd.enter(2, ROOM)
    late = crowd.connect(10)
    crowd.ask_all(late, "hello", nickname="late")
    said = texts(3000)
    offsets = []
    for number, member in enumerate(late):
        sender.say(ROOM, said[number * 300 : number * 300 + 300])
        crowd.run(witness.has(number * 300 + 1))  # in the midst of them
        offsets.append(crowd.ask(member, "subscribe", room=ROOM)["offset"])
    sender.say(ROOM, ["the last"])
    crowd.run(lambda: all("the last" in it.messages[-1:] for it in [witness, *late]))
    assert all(it.has_no_hole() for it in [witness, *late])
    assert [member.ids[0] for member in late] == [offset + 1 for offset in offsets]


def test_who_loses_the_connection_in_a_flood_resumes_without_loss_or_double(serve: Serve) -> None:
    server = serve("--history-size", "10000")
    with Crowd(server.port) as crowd:
        sender, witness = crowd.enter(2, ROOM)
        (traveller,) = crowd.connect(1)
        hello = crowd.ask(traveller, "hello", nickname="traveller")
        epoch = crowd.ask(traveller, "join", room=ROOM)["epoch"]
        said = texts(3000)
        ids: list[int] = []
        messages: list[str] = []
        for begin in range(0, 3000, 500):
            sender.say(ROOM, said[begin : begin + 500])
            crowd.run(witness.has(begin + 1))
            crowd.run(traveller.has(1))
            ids += traveller.ids
            messages += traveller.messages
            traveller.reset()  # in the midst of them
            (traveller,) = crowd.connect(1)
            again = crowd.ask(traveller, "hello", resume=hello["resume"])
            assert again["user"] == hello["user"]
            since = {"offset": ids[-1], "epoch": epoch}
            assert crowd.ask(traveller, "join", room=ROOM, since=since)["recovered"] is True
        crowd.run(traveller.has(len(said) - len(messages)))
        crowd.run(lambda: bool(traveller.lives))
        ids += traveller.ids
        assert messages + traveller.messages == said
        assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_coming_and_going_leaves_nothing_behind(chat_server: ServerProcess) -> None:
    check_chat(chat_server)
    with Crowd(chat_server.port) as crowd:
        crowd.enter(1, ROOM)
        threads, descriptors = chat_server.threads(), chat_server.descriptors()
        for round_number in range(10):
            members = crowd.enter(10, ROOM)
            strangers = crowd.connect(10, path=("/", "/ws", "/chat")[round_number % 3])
            for member in members[:5] + strangers[:5]:
                member.leave()
            for member in members[5:] + strangers[5:]:
                member.reset()
            crowd.run(lambda: all(it.closed is not None for it in members + strangers))  # noqa: B023
        until(lambda: chat_server.threads() == threads, "the end of the connections' threads")
        until(lambda: chat_server.descriptors() == descriptors, "the end of the connections' sockets")
    check_chat(chat_server)
