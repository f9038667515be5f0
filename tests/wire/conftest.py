"""A certificate that was made for these tests."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest


class Certificate(NamedTuple):
    """Of localhost and 127.0.0.1, signed by itself."""

    chain: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        """What shows it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context

    def client(self) -> ssl.SSLContext:
        """What trusts it."""
        return ssl.create_default_context(cafile=str(self.chain))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Made once, by the openssl command; without that, what needs it is skipped."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl command to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    found = Certificate(folder / "chain.pem", folder / "key.pem")
    options = (
        "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
        " -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    )
    command = [openssl, "req", *options.split(), "-out", str(found.chain), "-keyout", str(found.key)]
    subprocess.run(command, check=True, capture_output=True)
    return found
