"""The page in two tabs of a browser, each on another node behind nginx."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.people import connections, nodes_of_new
from tests.e2e import browser
from tests.e2e.browser import Person
from tests.e2e.process import until

if TYPE_CHECKING:
    from clustering.cluster import Cluster
    from clustering.parts import Node

pytestmark = pytest.mark.skipif(bool(browser.missing()), reason=browser.missing())

ATTEMPTS = 12  # a page asks for a number of files first, and each moves nginx's turn on


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Any]:
    with browser.chromium(tmp_path / "profile") as driver:
        yield driver


def node_of_newest(cluster: Cluster, before: dict[str, frozenset[str]]) -> Node:
    """The node that has a lasting connection which it had not before."""
    until(
        lambda: len(nodes_of_new(before, cluster.nodes)) == 1,
        "the page to be connected, and its files to be loaded",
    )
    return nodes_of_new(before, cluster.nodes)[0]


def arrive(
    cluster: Cluster, driver: Any, nickname: str, elsewhere: Node | None = None
) -> tuple[Person, Node]:
    """Somebody opens the page, and opens it again until it is on another node than the one named."""
    for _ in range(ATTEMPTS):
        before = {node.name: connections(node) for node in cluster.nodes}
        person = Person(driver, cluster.url).enter(nickname)
        node = node_of_newest(cluster, before)
        if node is not elsewhere:
            return person, node
        person.leave()
        driver.switch_to.window(driver.window_handles[0])  # a new one opens from one that is there
        until(lambda: {it.name: connections(it) for it in cluster.nodes} == before, "the page to be gone")  # noqa: B023
        cluster.nginx.is_ready()  # one request more: the next page meets another node
    raise AssertionError(f"{ATTEMPTS} pages were all on {elsewhere}")


def test_two_tabs_on_two_nodes_chat(cluster: Cluster, driver: Any) -> None:
    ann, first = arrive(cluster, driver, "ann")
    bob, second = arrive(cluster, driver, "bob", elsewhere=first)
    assert first is not second
    for turn in range(3):
        ann.say(f"ann says {turn}")
        bob.wait_for_text(f"ann says {turn}")
        bob.say(f"bob says {turn}")
        ann.wait_for_text(f"bob says {turn}")
    expected = [f"{who} says {turn}" for turn in range(3) for who in ("ann", "bob")]
    for person in (ann, bob):
        assert [text for text in person.texts() if " says " in text] == expected
    errors = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []


def test_a_page_goes_on_when_its_node_dies(cluster: Cluster, driver: Any) -> None:
    ann, first = arrive(cluster, driver, "ann")
    bob, _ = arrive(cluster, driver, "bob", elsewhere=first)
    first.kill()
    bob.say("are you still there?")
    ann.wait_for_text("are you still there?")
    ann.say("on another node")
    bob.wait_for_text("on another node")
    assert ann.texts().count("are you still there?") == 1
