"""Covers server/http/certificates.py: which files are usable, what becomes of new ones, who speaks TLS."""

from __future__ import annotations

import logging
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from tests.wire.conftest import Certificate
from tests.wire.helpers import PATIENCE, finish, start, tcp_pair
from threadchat.errors import ConfigError
from threadchat.server.http.certificates import Certificates, secure
from threadchat.server.http.request import PeerGone


class Files:
    """A certificate and its key, to be broken."""

    def __init__(self, folder: Path, certificate: Certificate) -> None:
        self.chain = folder / "chain.pem"
        self.key = folder / "key.pem"
        self.take(certificate)

    def take(self, certificate: Certificate) -> None:
        shutil.copy(certificate.chain, self.chain)
        shutil.copy(certificate.key, self.key)

    def load(self) -> Certificates:
        return Certificates(str(self.chain), str(self.key))


@pytest.fixture
def files(tmp_path: Path, certificate: Certificate) -> Files:
    return Files(tmp_path, certificate)


def make_another(folder: Path) -> Certificate:
    """A second certificate of localhost, with a key of its own."""
    made = Certificate(folder / "other.pem", folder / "other-key.pem")
    options = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
        " -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    )
    command = ["openssl", *options.split(), "-out", str(made.chain), "-keyout", str(made.key)]
    subprocess.run(command, check=True, capture_output=True)
    return made


def test_tls_is_as_it_is_spoken_today(files: Files) -> None:
    context = files.load().context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION


def refused(files: Files) -> str:
    with pytest.raises(ConfigError) as caught:
        files.load()
    return str(caught.value)


def test_a_file_that_is_not_there(files: Files) -> None:
    files.chain.unlink()
    assert refused(files) == f"tls_cert={files.chain}: No such file or directory"


def test_a_file_that_is_a_folder(files: Files) -> None:
    files.key.unlink()
    files.key.mkdir()
    assert refused(files) == f"tls_key={files.key}: Is a directory"


def test_files_that_were_mixed_up(files: Files) -> None:
    files.chain.write_bytes(files.key.read_bytes())
    assert refused(files) == f"tls_cert={files.chain}: this file contains no certificate in PEM format"


def test_a_key_that_is_none(files: Files) -> None:
    files.key.write_text("hello")
    assert refused(files) == f"tls_key={files.key}: this file contains no private key in PEM format"


def test_the_key_of_another(files: Files, tmp_path: Path) -> None:
    shutil.copy(make_another(tmp_path).key, files.key)
    assert (
        refused(files)
        == f"tls_key={files.key}: this key does not belong to the certificate tls_cert={files.chain}"
    )


def test_what_only_looks_like_a_certificate(files: Files) -> None:
    files.chain.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert refused(files).startswith(f"tls_cert={files.chain} and tls_key={files.key} cannot be used: ")


def test_a_locked_key_is_refused_and_nobody_is_asked(files: Files) -> None:
    locked = subprocess.run(
        ["openssl", "pkey", "-in", str(files.key), "-aes128", "-passout", "pass:secret"],
        check=True,
        capture_output=True,
    )
    files.key.write_bytes(locked.stdout)
    assert "the key has a passphrase" in refused(files)


def test_new_files_are_for_new_connections(
    files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = files.load()
    before = certificates.context
    files.take(make_another(tmp_path))
    with caplog.at_level(logging.INFO):
        assert certificates.reload()
    assert certificates.context is not before
    assert str(files.chain) in caplog.text


def test_broken_new_files_leave_the_former_in_force(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    certificates = files.load()
    before = certificates.context
    files.key.write_text("oops")
    assert not certificates.reload()
    assert certificates.context is before
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert "this file contains no private key" in record.getMessage()


# -- who speaks TLS ------------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = tcp_pair()
    yield ours, theirs
    ours.close()
    theirs.close()


Pair = tuple[socket.socket, socket.socket]


def test_a_peer_that_speaks_tls(pair: Pair, files: Files, certificate: Certificate) -> None:
    ours, theirs = pair
    clients: list[ssl.SSLSocket] = []
    client = start(
        lambda: clients.append(certificate.client().wrap_socket(theirs, server_hostname="localhost"))
    )
    tls = secure(ours, files.load().context, monotonic() + PATIENCE, monotonic)
    finish(client)
    assert tls is not None
    assert tls.fileno() == ours.fileno()
    tls.sendall(b"hi")
    assert clients[0].recv(10) == b"hi"
    assert (clients[0].version(), clients[0].selected_alpn_protocol()) == ("TLSv1.3", None)
    clients[0].close()


def test_http_is_what_a_browser_and_a_proxy_agree_on(
    pair: Pair, files: Files, certificate: Certificate
) -> None:
    ours, theirs = pair
    context = certificate.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    agreed: list[str | None] = []

    def ask() -> None:
        with context.wrap_socket(theirs, server_hostname="localhost") as tls:
            agreed.append(tls.selected_alpn_protocol())

    client = start(ask)
    assert secure(ours, files.load().context, monotonic() + PATIENCE, monotonic)
    finish(client)
    assert agreed == ["http/1.1"]


def test_a_peer_that_does_not_is_left_unread(pair: Pair, files: Files) -> None:
    ours, theirs = pair
    theirs.sendall(b"GET / HTTP/1.1\r\n")
    assert secure(ours, files.load().context, monotonic() + PATIENCE, monotonic) is None
    assert ours.recv(100) == b"GET / HTTP/1.1\r\n"


def failure(ours: socket.socket, files: Files, seconds: float = PATIENCE) -> str:
    with pytest.raises(PeerGone) as caught:
        secure(ours, files.load().context, monotonic() + seconds, monotonic)
    return str(caught.value)


def test_a_peer_that_goes_at_once(pair: Pair, files: Files) -> None:
    ours, theirs = pair
    theirs.close()
    assert failure(ours, files) == "it sent nothing"


def test_a_peer_that_begins_well_and_goes_on_with_garbage(pair: Pair, files: Files) -> None:
    ours, theirs = pair
    theirs.sendall(b"\x16\x03\x01" + b"\xff" * 500)
    assert failure(ours, files).startswith("the TLS handshake failed: [SSL")


def test_a_peer_that_ends_in_the_middle(pair: Pair, files: Files) -> None:
    ours, theirs = pair
    theirs.sendall(b"\x16\x03\x01\x02\x00\x01")
    theirs.shutdown(socket.SHUT_WR)
    assert "the TLS handshake failed" in failure(ours, files)


@pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_peer_that_takes_too_long(pair: Pair, files: Files, begun: bytes) -> None:
    ours, theirs = pair
    theirs.sendall(begun)
    assert "the TLS handshake failed" in failure(ours, files, seconds=0.05)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_a_peer_of_the_old_days(pair: Pair, files: Files) -> None:
    ours, theirs = pair
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    errors: list[OSError] = []

    def ask() -> None:
        try:
            context.wrap_socket(theirs)
        except OSError as error:
            errors.append(error)

    client = start(ask)
    assert "UNSUPPORTED_PROTOCOL" in failure(ours, files)
    finish(client)
    assert len(errors) == 1
