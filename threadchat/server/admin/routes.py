"""The operators' doors, behind the key: the API, the metrics, the page that draws them."""

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
    """Which paths are for operators, as `api_key` and `metrics` say; without either there are none.

    Raises ConfigError where `metrics` are open and cannot be had. To be called on any thread.
    """

    def __init__(self, chat: AdministeredChat, config: Config) -> None:
        self._api: Api | None = None
        self._doors: dict[str, WSGIApplication] = {}
        key = Key(config.api_key, chat.failures) if config.api_key else None
        self._proxies = Proxies(config.trusted_proxy)
        if key is not None:
            self._api = Api(chat, key, config.max_message_size)
            for path, resource in read_ops_page().items():
                self._doors[path] = _File(resource)
        if config.metrics == "open" or (config.metrics == "key" and key is not None):
            if not metrics.available():
                if config.metrics == "open":
                    raise ConfigError(f"metrics=open: {metrics.MISSING}")
                log.warning("there is no /metrics: %s; or set metrics=off", metrics.MISSING)
            only_for = None if config.metrics == "open" else key
            self._doors["/metrics"] = metrics.Metrics(chat.inspector, only_for)

    @classmethod
    def asked_for(cls, chat: AdministeredChat, config: Config) -> Operators:
        """The same for an application that wants them. Raises ConfigError where there are none."""
        operators = cls(chat, config)
        if not operators._doors:
            raise ConfigError("api=True: nothing is there without an api_key, or metrics=open; set one")
        return operators

    def find(self, path: str) -> WSGIApplication | None:
        """What answers at `path`; None where that is no operators' path."""
        door: WSGIApplication | None = self._doors.get(path)
        if path.startswith("/api/"):
            door = self._api
        return None if door is None else partial(self._answer, door)

    def _answer(
        self, door: WSGIApplication, environ: dict[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        self._proxies.see_through(environ)  # another server may not have, and addresses are judged
        return door(environ, start_response)


def read_ops_page() -> dict[str, Resource]:
    """The files of the page at `/ops`. They hold nothing secret: whoever wants to see more needs the key."""
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
