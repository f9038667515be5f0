"""The nginx configuration that is deployed: it is valid, and lets through what a node needs to see."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from wsgiref.types import StartResponse

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.cluster.people import connections, nodes_of_new
from tests.e2e.process import PATIENCE
from threadchat.client import Client
from threadchat.config.settings import Config
from threadchat.server.http.proxies import Proxies
from threadchat.server.http.server import HttpServer

if TYPE_CHECKING:
    from clustering.cluster import Cluster
    from clustering.parts import Nginx


def test_nginx_finds_nothing_wrong_with_it(cluster: Cluster) -> None:
    tested = subprocess.run(cluster.nginx.command("-t"), capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr
    assert "[warn]" not in tested.stderr
    assert "[emerg]" not in tested.stderr


def test_only_addresses_and_folders_are_others(cluster: Cluster) -> None:
    from clustering.nginx import DEPLOYED

    deployed = DEPLOYED.read_text().splitlines()
    used = cluster.nginx.configuration.read_text().splitlines()
    assert len(deployed) == len(used)
    changed = [
        (one.split(), other.split()) for one, other in zip(deployed, used, strict=True) if one != other
    ]
    assert {one[0] for one, _ in changed} == {
        *("pid", "server", "listen", "client_body_temp_path", "proxy_temp_path"),
        *("fastcgi_temp_path", "uwsgi_temp_path", "scgi_temp_path"),
    }
    assert all(one[0] == other[0] and one[2:] == other[2:] for one, other in changed), (
        "but their options are not"
    )
    ports = [other[1].removeprefix("127.0.0.1:") for one, other in changed if one[0] == "server"]
    assert ports == [str(node.port) for node in cluster.nodes]


@pytest.mark.parametrize(
    "missing", ["listen 8080;", "/tmp/", "server chat-1:8080", "server chat-2:8080", "# hash "]
)
def test_a_file_that_was_changed_too_much_is_told(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clustering import nginx

    changed = tmp_path / "nginx.conf"
    replaced = {"/tmp/": "/var/", "server chat-2:8080": "# a comment\n"}.get(missing, "# ")
    changed.write_text(nginx.DEPLOYED.read_text().replace(missing, replaced))
    monkeypatch.setattr(nginx, "DEPLOYED", changed)
    if missing == "server chat-1:8080":
        assert nginx.configuration("127.0.0.1:1", ["127.0.0.1:2"], tmp_path).count("server 127.0.0.1:2 ") == 1
    else:
        with pytest.raises(ValueError, match=r"^nginx\.conf: "):
            nginx.configuration("127.0.0.1:1", ["127.0.0.1:2"], tmp_path, by_room=True)


@pytest.mark.parametrize("directive", ["proxy_read_timeout", "proxy_send_timeout"])
def test_a_silent_websocket_outlives_two_pings(directive: str) -> None:
    from clustering.nginx import DEPLOYED

    [seconds] = re.findall(rf"\b{directive} (\d+)s;", DEPLOYED.read_text())
    assert int(seconds) > 2 * Config().ping_interval


# Where people land


@pytest.fixture
def by_room(cluster: Cluster, tmp_path: Path) -> Iterator[Nginx]:
    """A second nginx in front of the nodes, which keeps people of a room on few of them."""
    from clustering.parts import Nginx

    nginx = Nginx(cluster.nodes, tmp_path, by_room=True)
    nginx.start()
    yield nginx
    assert nginx.stop() == 0
    assert "[emerg]" not in nginx.log()


def landed(cluster: Cluster, nginx: Nginx, path: str, people: int = 12) -> list[str]:
    """The names of the nodes at which people land who come to a path."""
    before = {node.name: connections(node) for node in cluster.nodes}
    with contextlib.ExitStack() as stack:
        for _ in range(people):
            socket = stack.enter_context(connect(f"ws://127.0.0.1:{nginx.port}{path}"))
            socket.send('{"type": "hello", "id": 1}')
            assert json.loads(socket.recv(PATIENCE))["type"] == "ok"
        return [node.name for node in nodes_of_new(before, cluster.nodes)]


def test_people_of_a_room_land_on_few_nodes(cluster: Cluster, by_room: Nginx) -> None:
    tested = subprocess.run(by_room.command("-t"), capture_output=True, text=True, check=False)
    assert (tested.returncode, "[warn]" in tested.stderr) == (0, False), tested.stderr
    used: set[str] = set()
    for room in range(12):
        places = set(landed(cluster, by_room, f"/chat?room=room-{room}"))
        assert 1 <= len(places) <= 2
        assert set(landed(cluster, by_room, f"/chat?room=room-{room}")) == places, "whoever comes later too"
        used |= places
    assert len(used) == 3, "rooms are spread over all nodes"
    assert len(set(landed(cluster, by_room, "/chat", people=40))) == 3, "who names no room too"


def test_people_of_a_room_whose_node_is_down_land_on_another(cluster: Cluster, by_room: Nginx) -> None:
    at_home = {room: landed(cluster, by_room, f"/chat?room={room}") for room in ("a", "b", "c", "d")}
    cluster.nodes[0].kill()
    for room, places in at_home.items():
        now = landed(cluster, by_room, f"/chat?room={room}")
        assert len(now) == 12
        assert set(places) - {"node-1"} <= set(now), "nobody else moves"


def test_people_of_a_room_talk_wherever_they_land(cluster: Cluster, by_room: Nginx, room: str) -> None:
    urls = [f"{by_room.url}chat?room={room}", f"{by_room.url}chat?room=other", cluster.chat_url]
    with contextlib.ExitStack() as stack:
        people = [stack.enter_context(Client(url, nickname=f"p{i}")) for i, url in enumerate(urls * 4)]
        for person in people:
            person.join(room)
        people[0].message(room, "hello")
        for person in people:
            while person.next_event(PATIENCE).message != "hello":
                pass


# What a page in a browser may do


def status_for(cluster: Cluster, origin: str) -> int:
    """What a browser with a page of an origin is answered."""
    try:
        with connect(cluster.chat_url, origin=origin):  # type: ignore[arg-type]
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


def test_a_page_of_this_server_may_connect_and_no_other(cluster: Cluster) -> None:
    assert status_for(cluster, f"http://127.0.0.1:{cluster.nginx.port}") == 101
    assert status_for(cluster, "http://127.0.0.1") == 403
    assert status_for(cluster, "https://evil.example") == 403


# What comes and goes


def test_the_page_and_its_health_come_through(cluster: Cluster) -> None:
    for path, expected in (("/", b"<!doctype html>"), ("/healthz", b"ok"), ("/readyz", b"ok")):
        status, body = get(cluster.nginx, path)
        assert (status, body[: len(expected)].lower()) == (200, expected)


def get(nginx: Nginx, path: str, source: str = "", **headers: str) -> tuple[int, bytes]:
    """`source` is where the request comes from: all of 127.0.0.0/8 is this machine."""
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", nginx.port, PATIENCE, source_address=(source, 0))
    ) as connection:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()


def test_a_node_that_is_down_costs_nobody_anything(cluster: Cluster) -> None:
    cluster.nodes[0].kill()
    for _ in range(6):
        assert get(cluster.nginx, "/healthz") == (200, b"ok")
        with connect(cluster.chat_url) as socket:
            socket.send('{"type": "hello", "id": 1}')
            assert json.loads(socket.recv(PATIENCE))["type"] == "ok"


CLAIMS = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "Host": "chat.example:81"}


@pytest.mark.parametrize("trusted", ["127.0.0.1", ""])
def test_a_client_is_known_by_its_own_address_and_not_by_what_it_says(
    trusted: str, tmp_path: Path, programs: None
) -> None:
    from clustering.parts import Nginx, Node

    def tell(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])
        seen = {name: environ.get(name) for name in ("REMOTE_ADDR", "HTTP_X_FORWARDED_FOR", "HTTP_HOST")}
        return [json.dumps({**seen, "scheme": environ["wsgi.url_scheme"]}).encode()]

    server = HttpServer(tell, host="127.0.0.1", port=0, request_timeout=PATIENCE, proxies=Proxies(trusted))
    server.listen()
    node = Node(1, "redis://127.0.0.1/", tmp_path)
    node.port = server.address[1]
    nginx = Nginx([node], tmp_path)
    try:
        nginx.start()
        seen = json.loads(get(nginx, "/", source="127.0.0.5", **CLAIMS)[1])
    finally:
        nginx.stop()
        server.stop_accepting()
        assert server.join(PATIENCE)
    assert seen == {
        "REMOTE_ADDR": "127.0.0.5" if trusted else "127.0.0.1",
        "HTTP_X_FORWARDED_FOR": "127.0.0.5",  # nginx's own word
        "HTTP_HOST": "chat.example:81",
        "scheme": "http",
    }


def test_the_nodes_believe_nginx_and_nobody_else(cluster: Cluster) -> None:
    for node in cluster.nodes:
        flags = node._command
        assert flags[flags.index("--trusted-proxy") + 1] == "127.0.0.1"
