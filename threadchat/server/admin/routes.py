"""The routes for operators, protected by the key: the API, the metrics, and the page /ops."""

from __future__ import annotations

import importlib.resources
import logging
from collections.abc import Iterable
from functools import partial
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication

from threadchat.config.settings import Config
from threadchat.errors import ConfigError
from threadchat.server.admin import metrics
from threadchat.server.admin.administered import AdministeredChat
from threadchat.server.admin.api import Api, Key
from threadchat.server.http.proxies import Proxies
from threadchat.server.http.replies import reply
from threadchat.server.http.static import Resource, read_folder

log = logging.getLogger(__name__)


class Operators:
    """The paths for operators, as the settings `api_key` and `metrics` allow; without either there are none.

    Raises ConfigError if `metrics` is open but prometheus_client is missing. May be called on any thread.
    """

    def __init__(self, chat: AdministeredChat, config: Config) -> None:
        self._api: Api | None = None
        self._routes: dict[str, WSGIApplication] = {}
        key = Key(config.api_key, chat.failures) if config.api_key else None
        self._proxies = Proxies(config.trusted_proxy)
        if key is not None:
            self._api = Api(chat, key, config.max_message_size)
            for path, resource in read_ops_page().items():
                self._routes[path] = _File(resource)
        if config.metrics == "open" or (config.metrics == "key" and key is not None):
            if not metrics.available():
                if config.metrics == "open":
                    raise ConfigError(f"metrics=open: {metrics.MISSING}")
                log.warning("there is no /metrics: %s; or set metrics=off", metrics.MISSING)
            only_for = None if config.metrics == "open" else key
            self._routes["/metrics"] = metrics.Metrics(chat.inspector, only_for)

    @classmethod
    def asked_for(cls, chat: AdministeredChat, config: Config) -> Operators:
        """The routes for an application that asks for them. Raises ConfigError if there are none."""
        operators = cls(chat, config)
        if not operators._routes:
            raise ConfigError("api=True: nothing is served without an api_key or metrics=open; set one")
        return operators

    def find(self, path: str) -> WSGIApplication | None:
        """The application for `path`; None if it is not a path for operators."""
        route: WSGIApplication | None = self._routes.get(path)
        if path.startswith("/api/"):
            route = self._api
        return None if route is None else partial(self._answer, route)

    def _answer(
        self, route: WSGIApplication, environ: dict[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        # On another server REMOTE_ADDR may still be a proxy's, and failures are counted by address.
        self._proxies.see_through(environ)
        return route(environ, start_response)


def read_ops_page() -> dict[str, Resource]:
    """The files of the page at `/ops`. They contain nothing secret; the data needs the key."""
    resources = read_folder(importlib.resources.files("threadchat.server.admin") / "ops", "/ops/")
    return {"/ops": resources["/ops/index.html"], **resources}


class _File:
    """A WSGI application that serves one file."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return reply(start_response, "405 Method Not Allowed", "This is a file.", ("Allow", "GET, HEAD"))
        return self._resource.serve(environ, start_response)
