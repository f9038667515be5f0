"""Covers threadchat/testing/plugin.py: pytest runs in processes of their own, as in somebody's project."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import threadchat

ROOT = Path(threadchat.__file__).parents[1]

FIXTURES = """
    import threading

    import pytest

    from threadchat import Chat, Config
    from threadchat.client import Client

    def test_server(threadchat_server, threadchat_peer):
        ann, bob = (threadchat_peer(threadchat_server.url) for _ in range(2))
        ann.ask("hello", nickname="ann")
        bob.ask("hello", nickname="bob")
        bob.ask("join", room="lobby")
        ann.ask("message", room="lobby", message="hi")
        assert [bob.next()["type"] for _ in range(2)] == ["join", "message"]

    def test_client(threadchat_server):
        url = threadchat_server.url
        with Client(url, nickname="ann") as ann, Client(url, nickname="bob") as bob:
            bob.join("lobby")
            ann.message("lobby", "hi")
            heard = next(event for event in bob if event.type == "message")
            assert (heard.nickname, heard.message) == ("ann", "hi")

    def test_nothing_is_left_of_the_server_before():
        assert threading.enumerate() == [threading.main_thread()]

    def test_two_servers(threadchat_serve):
        mine = Chat(Config(port=0, history_size=7), on_message=lambda user, room, text: text.upper())
        servers = [threadchat_serve(), threadchat_serve(mine)]
        assert servers[0].url != servers[1].url
        assert servers[1].chat is mine

    def test_in_memory(threadchat_in_memory):
        with Chat() as chat:
            peer = threadchat_in_memory(chat).connect()
            assert peer.ask("ping")["type"] == "ok"
            peer.close()

    def test_pair(threadchat_pair):
        pair = threadchat_pair(lambda connection: connection.send(connection.recv()))
        pair.client.send("echo")
        assert pair.client.recv() == "echo"

    def test_stalling(threadchat_server, threadchat_stalling_peer):
        peer = threadchat_stalling_peer(threadchat_server.url)
        peer.stall()
        with pytest.raises(RuntimeError, match="resume"):
            peer.recv()

    def test_slow(threadchat_server, threadchat_slow_peer):
        peer = threadchat_slow_peer(threadchat_server.at("/"), bytes_per_second=1)
        steps = [peer.step() for _ in range(2 + len('{"id":1}'))]
        assert steps[-1] == ['{"id":1}']
        assert not any(steps[:-1])

    def test_clock(threadchat_clock):
        before = threadchat_clock.monotonic()
        threadchat_clock.advance(5)
        assert threadchat_clock() - before == 5
"""

MARKERS = """
    import pytest

    pytestmark = pytest.mark.threadchat(history_size=5, hello_timeout=60)

    @pytest.mark.threadchat(history_size=7)
    class TestMarked:
        def test_class(self, threadchat_server):
            assert threadchat_server.chat.config.history_size == 7

        @pytest.mark.threadchat(history_size=9)
        def test_own(self, threadchat_server):
            config = threadchat_server.chat.config
            assert (config.history_size, config.hello_timeout) == (9, 60)

    def test_module(threadchat_server):
        assert threadchat_server.chat.config.history_size == 5
"""

UNUSED = """
    import sys

    def test_pytest_started_without_the_server():
        loaded = {name for name in sys.modules if name.startswith("threadchat")}
        own = {"threadchat.testing", "threadchat.testing.plugin"}
        assert loaded == {"threadchat", "threadchat.version", *own}
        assert not {"msgspec", "wsproto", "h11", "simple_websocket"} & set(sys.modules)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project in whose environment threadchat is installed, with the entry points of pyproject.toml."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    installed = pytester.mkdir("site") / "threadchat-0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: threadchat\nVersion: 0\n")
    lines = [f"{name} = {module}\n" for name, module in groups["pytest11"].items()]
    (installed / "entry_points.txt").write_text("".join(["[pytest11]\n", *lines]))
    (installed / "RECORD").write_text("")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{installed.parent}")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return pytester


def run(project: pytest.Pytester, code: str, *arguments: str) -> pytest.RunResult:
    project.makepyfile(test_it=code)
    strict = ("--strict-markers", "-W", "error", "-p", "no:cacheprovider")
    return project.runpytest_subprocess(*strict, *arguments, timeout=100)


def test_fixtures(project: pytest.Pytester) -> None:
    run(project, FIXTURES).assert_outcomes(passed=9)


def test_markers(project: pytest.Pytester) -> None:
    run(project, MARKERS).assert_outcomes(passed=3)


@pytest.mark.parametrize(
    ("marker", "complaint"),
    [
        (
            "threadchat(10)",
            "*settings must be named, as in @pytest.mark.threadchat(history_size=10), not (10,)*",
        ),
        ("threadchat(history_size=0)", "*history_size*0*from 1 to 1000000*"),
    ],
)
def test_a_wrong_marker_is_explained(project: pytest.Pytester, marker: str, complaint: str) -> None:
    code = f"""
        import pytest

        @pytest.mark.{marker}
        def test_it(threadchat_server):
            pass
    """
    result = run(project, code)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([complaint])


def test_whoever_uses_no_fixture_imports_no_server(project: pytest.Pytester) -> None:
    run(project, UNUSED).assert_outcomes(passed=1)


def test_the_plugin_may_be_named_too(project: pytest.Pytester) -> None:
    project.makeconftest('pytest_plugins = ["threadchat.testing.plugin"]')
    run(project, UNUSED, "-p", "threadchat.testing.plugin").assert_outcomes(passed=1)


def test_fixtures_and_marker_say_what_they_are_for(project: pytest.Pytester) -> None:
    listed = project.runpytest_subprocess("--fixtures", "--markers", timeout=100)
    listed.stdout.fnmatch_lines(["@pytest.mark.threadchat(?*settings): ?*"])
    listed = project.runpytest_subprocess("--fixtures", timeout=100)
    shown = listed.stdout.str().partition("fixtures defined from threadchat.testing.plugin")[2]
    from threadchat.testing import plugin

    names = [name for name in vars(plugin) if name.startswith("threadchat_")]
    assert len(names) == 8
    for name in names:
        [_, after] = shown.split(f"\n{name} --", 1)
        assert "no docstring available" not in after.splitlines()[1]
