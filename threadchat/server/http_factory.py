"""Makes the HTTP server of a chat from its settings for address, limits, proxies and TLS."""

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
from threadchat.server.http.throttle import Throttle

TCP_PER_CONNECTION: Final = 2
"""TCP connections of one address for each that `max_connections_per_address` allows. The chat opens those
above that limit for a moment, to close them with the reason; only a flood of them is cut off here."""


def make_http(
    app: WSGIApplication,
    config: Config,
    throttle: Throttle,
    host: str | None = None,
    port: int | None = None,
    *,
    on_accept_thread: Callable[[], None] | None = None,
) -> HttpServer:
    """A server for `listen`. `host` and `port`, if given, replace those of the settings.

    `throttle`: requests are parsed while it is held.

    Raises ConfigError for an invalid port, and for a certificate that cannot be used.
    """
    if port is not None and not (type(port) is int and SETTINGS["port"].rule.allows(port)):
        raise ConfigError(f"port={port!r:.60}: must be a whole number {SETTINGS['port'].rule.limits}")
    return HttpServer(
        app,
        host=config.host if host is None else host,
        port=config.port if port is None else port,
        request_timeout=config.request_timeout,
        max_connections=config.max_connections,
        max_per_address=TCP_PER_CONNECTION * config.max_connections_per_address,
        proxies=Proxies(config.trusted_proxy),
        certificates=Certificates(config.tls_cert, config.tls_key) if config.tls_cert else None,
        max_body=max_body(config.max_message_size) if config.api_key else BODY_BYTES,
        shared_port=config.workers > 1,
        on_accept_thread=on_accept_thread,
        throttle=throttle,
    )
