"""The chat over TLS: pages, WebSockets, a crowd at once, a peer that stalls, and a new certificate."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as websocket
from websockets.typing import Origin

from tests.e2e.browser import Person, chromium, missing
from tests.e2e.process import PATIENCE, ServerProcess, until
from tests.server.http.test_certificates import make_another
from tests.wire.conftest import Certificate
from tests.wire.helpers import run_all, switching
from threadchat import Chat, Client, Config
from threadchat.plain.client import connect
from threadchat.testing import FakeClock, LiveServer

Serve = Callable[..., ServerProcess]


@pytest.fixture
def live(certificate: Certificate, threadchat_serve: Callable[..., LiveServer]) -> LiveServer:
    """A server in this process that speaks TLS."""
    return threadchat_serve(tls_cert=str(certificate.chain), tls_key=str(certificate.key))


def ask(client: ClientConnection, **command: object) -> dict[str, Any]:
    client.send(json.dumps({"id": 1, **command}))
    while True:
        frame: dict[str, Any] = json.loads(client.recv(PATIENCE))
        if "re" in frame:
            assert frame["type"] == "ok", frame
            return frame


def test_the_page_and_the_socket(live: LiveServer, certificate: Certificate) -> None:
    assert live.page.startswith("https://127.0.0.1:")
    with urllib.request.urlopen(live.page, context=certificate.client(), timeout=PATIENCE) as page:
        assert page.read().startswith(b"<!doctype html>")
    origin = Origin(live.page.removesuffix("/"))
    with websocket(live.url, ssl=certificate.client(), origin=origin) as client:
        assert ask(client, type="hello", nickname="ann")["user"] == 1


def test_our_own_clients(live: LiveServer, certificate: Certificate) -> None:
    with (
        Client(live.url, "ann", ssl=certificate.client()) as ann,
        Client(live.url, "bob", ssl=certificate.client()) as bob,
    ):
        ann.join("lobby")
        bob.join("lobby")
        bob.message("lobby", "hi")
        while (event := ann.next_event(PATIENCE)) and getattr(event, "message", "") != "hi":
            pass
        assert event is not None
    with connect(live.at("/ws"), ssl=certificate.client()) as plain:
        plain.send('{"from": "ann", "message": "hi"}')
        assert json.loads(plain.recv(PATIENCE))["message"] == "hi"


def test_a_certificate_that_nobody_vouches_for_is_refused_by_our_client(live: LiveServer) -> None:
    with pytest.raises(ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        connect(live.url)


def test_everybody_talks_and_hears_all_in_one_order(live: LiveServer, certificate: Certificate) -> None:
    """Readers and writers of every connection at once; long messages among short ones."""
    people, each = 8, 40
    context = certificate.client()
    heard: dict[int, list[str]] = {number: [] for number in range(people)}
    with ExitStack() as stack:
        clients = [stack.enter_context(websocket(live.url, ssl=context, max_size=None)) for _ in heard]
        for number, client in enumerate(clients):
            ask(client, type="hello", nickname=f"n{number}")
            ask(client, type="join", room="lobby", types=["message"])

        def talk(number: int) -> None:
            for turn in range(each):
                padding = "x" * (30_000 if turn % 10 == 9 else 10)
                said = {"type": "message", "room": "lobby", "message": f"{number}:{turn}:{padding}"}
                clients[number].send(json.dumps(said))

        def listen(number: int) -> None:
            while len(heard[number]) < people * each:
                frame = json.loads(clients[number].recv(PATIENCE))
                if frame["type"] == "message":
                    heard[number].append(frame["message"][:8])

        with switching(1e-4):
            run_all([partial(act, number) for act in (talk, listen) for number in heard])
    assert len(heard[0]) == people * each
    assert all(order == heard[0] for order in heard.values())
    for number in heard:
        own = [said for said in heard[0] if said.startswith(f"{number}:")]
        assert own == sorted(own, key=lambda said: int(said.split(":")[1]))


def test_a_peer_that_stalls_is_dropped_as_over_tcp(
    certificate: Certificate, threadchat_serve: Callable[..., LiveServer], threadchat_clock: FakeClock
) -> None:
    ended: list[int] = []
    gone = threading.Event()
    config = Config(
        port=0,
        tls_cert=str(certificate.chain),
        tls_key=str(certificate.key),
        pong_timeout=9000,
        history_size=64,
    )
    chat = Chat(config, pinger=threadchat_clock.pinger())

    @chat.on_disconnect
    def note(info: object, code: int, reason: str) -> None:
        ended.append(code)
        gone.set()

    server = threadchat_serve(chat)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, port = server.page.removeprefix("https://").removesuffix("/").split(":")
    raw.connect((host, int(port)))
    with websocket(
        server.url, sock=raw, ssl=certificate.client(), server_hostname="localhost", max_queue=1
    ) as peer:
        ask(peer, type="hello", nickname="ann")
        ask(peer, type="subscribe", room="lobby")
        [connection] = chat.registry.connections()
        while not connection.stalled:
            chat.publish("lobby", "x" * 200_000, nickname="bob")

        def time_passes() -> bool:
            threadchat_clock.advance(5)  # in steps: a leap would mean that this process had been stopped
            return gone.wait(0.5)

        until(time_passes, "the peer to be dropped")
    assert ended[0] in (3008, 3009)
    until(lambda: not chat.registry.connections(), "the connection to be gone")


def greet(server: ServerProcess, certificate: Certificate) -> None:
    """Comes and goes, if the server shows this certificate."""
    with websocket(server.ws + "/chat", ssl=certificate.client()) as client:
        ask(client, type="hello")


def test_a_new_certificate_on_sighup(serve: Serve, certificate: Certificate, tmp_path: Path) -> None:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    shutil.copy(certificate.chain, chain)
    shutil.copy(certificate.key, key)
    server = serve("--tls-cert", str(chain), "--tls-key", str(key))
    other = make_another(tmp_path)
    with websocket(server.ws + "/chat", ssl=certificate.client()) as first:
        ask(first, type="hello", nickname="ann")
        key.write_text("half written")
        server.send_signal(signal.SIGHUP)
        until(lambda: "the former certificate stays in use" in server.log(), "the broken file to be noticed")
        greet(server, certificate)
        shutil.copy(other.chain, chain)
        shutil.copy(other.key, key)
        server.send_signal(signal.SIGHUP)
        until(lambda: "use the present certificate" in server.log(), "the new file to be read")
        greet(server, other)
        with pytest.raises(ssl.SSLCertVerificationError):
            greet(server, certificate)
        assert ask(first, type="rooms")["rooms"] == [], "who was there before lives on"
    assert server.stop() == 0
    assert "Traceback" not in server.log()


@pytest.mark.skipif(bool(missing()), reason=missing() or "nothing is missing")
def test_the_page_in_a_browser(live: LiveServer, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile", "ignore-certificate-errors") as driver:
        ann = Person(driver, live.page).enter("ann")
        ann.say("over TLS")
        ann.wait_for_text("over TLS")
        assert driver.current_url.startswith("https://")
        errors = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
        assert errors == []
        ann.leave()
