"""Makes the HTTP server of a chat as its settings say: address, limits, proxies, TLS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from wsgiref.types import WSGIApplication

from threadchat.config.settings import SETTINGS, Config
from threadchat.errors import ConfigError
from threadchat.server.admin.api import max_body
from threadchat.server.http.certificates import Certificates
from threadchat.server.http.proxies import Proxies
from threadchat.server.http.request import BODY_BYTES
from threadchat.server.http.server import HttpServer

ROOM_FOR_GOODBYES: Final = 2
"""Connections of one address that TCP takes, for each that `max_connections_per_address` does: those above
are let in to be told so, which takes a moment, and only a flood of them is cut off here."""


def make_http(
    app: WSGIApplication,
    config: Config,
    *,
    host: str | None = None,
    port: int | None = None,
    on_accept_thread: Callable[[], None] | None = None,
) -> HttpServer:
    """A server for `listen`; `host` and `port` replace the settings' where they are given.

    Raises ConfigError for a port that is none, and for a certificate that cannot be used.
    """
    if port is not None and not (type(port) is int and SETTINGS["port"].rule.allows(port)):
        raise ConfigError(f"port={port!r:.60}: must be a whole number {SETTINGS['port'].rule.limits}")
    return HttpServer(
        app,
        host=config.host if host is None else host,
        port=config.port if port is None else port,
        request_timeout=config.request_timeout,
        max_connections=config.max_connections,
        max_per_address=ROOM_FOR_GOODBYES * config.max_connections_per_address,
        proxies=Proxies(config.trusted_proxy),
        certificates=Certificates(config.tls_cert, config.tls_key) if config.tls_cert else None,
        max_body=max_body(config.max_message_size) if config.api_key else BODY_BYTES,
        shared_port=config.workers > 1,
        on_accept_thread=on_accept_thread,
    )
