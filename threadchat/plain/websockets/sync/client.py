"""Connects to WebSocket servers, by the names and with the defaults of `websockets.sync.client`."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Any, Final, Literal, overload

from threadchat.errors import BadUrl, CannotConnect, ConnectTimeout, HandshakeRefused
from threadchat.plain import client as house
from threadchat.plain.client import ClientConnection, Heads
from threadchat.plain.http import Response
from threadchat.plain.websockets.exceptions import InvalidMessage, InvalidStatus, InvalidURI
from threadchat.plain.websockets.headers import validate_subprotocols
from threadchat.plain.websockets.http11 import USER_AGENT
from threadchat.plain.websockets.sync.judging import check_answer
from threadchat.plain.websockets.uri import parse_uri
from threadchat.wire.connecting.errors import AttemptFailed

__all__ = ["ClientConnection", "connect", "reconnect", "unix_connect", "unix_reconnect"]

ProcessException = Callable[[Exception], Exception | None]
_TEMPORARY: Final = (500, 502, 503, 504)


@overload
def connect(uri: str, *, legacy: Literal[False], **named: Any) -> reconnect: ...
@overload
def connect(uri: str, *, legacy: Literal[True] | None = None, **named: Any) -> ClientConnection: ...


def connect(uri: str, *, legacy: bool | None = None, **named: Any) -> ClientConnection | reconnect:
    """Like `threadchat.connect`, but by default with compression, a User-Agent and the system's proxy.

    Raises InvalidURI, InvalidProxy, ProxyError; InvalidStatus, which has the `response`, if the server
    refuses; other kinds of InvalidHandshake for a wrong response; OSError if TCP or TLS fails; TimeoutError.
    With `legacy=False` it returns what `reconnect` returns.
    """
    return reconnect(uri, **named) if legacy is False else _connect(uri, named)


def unix_connect(
    path: str | os.PathLike[str] | None = None,
    uri: str | None = None,
    *,
    legacy: bool | None = None,
    **named: Any,
) -> ClientConnection | reconnect:
    """Like connect, to a Unix socket."""
    if legacy is False:
        return unix_reconnect(path, uri, **named)
    return _unix_connect(path, uri, named)


def process_exception(error: Exception) -> Exception | None:
    """Returns None for an error that may pass: of the network, or a 5xx of the server; else the error."""
    if isinstance(error, InvalidMessage) and isinstance(error.__cause__, EOFError):
        return None
    if isinstance(error, InvalidStatus) and error.response.status_code in _TEMPORARY:
        return None
    return None if isinstance(error, OSError) else error


class reconnect:  # a name that programs have
    """Connects again and again: `for websocket in reconnect(uri): ...`, or once as a context manager.

    Each connection is closed when the next one is requested. If an attempt fails, `process_exception(error)`
    decides: None repeats it after a pause, and anything else is raised. `reconnect_delays` are the pauses in
    seconds; by default they are random at first, up to 5, and double up to 60.
    """

    def __init__(
        self,
        uri: str | None,
        *,
        process_exception: ProcessException = process_exception,
        reconnect_delays: Iterable[float] | Callable[[], Iterable[float]] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        **named: Any,
    ) -> None:
        self._connect: Callable[[], ClientConnection] = lambda: _connect(uri or "", named)
        self._logger = named.get("logger") or logging.getLogger("websockets.client")
        self._process_exception = process_exception
        self._delays = reconnect_delays
        self._sleep = sleep
        self._current: ClientConnection | None = None

    def __enter__(self) -> ClientConnection:
        self._current = self._connect()
        return self._current

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._current is not None:
            self._current.__exit__(kind, error, trace)

    def __iter__(self) -> Generator[ClientConnection, None, None]:
        delays: Iterator[float] | None = None
        while True:
            try:
                connection = self._connect()
            except Exception as error:
                fatal = self._process_exception(error)
                if fatal is error:
                    raise
                if fatal is not None:
                    raise fatal from error
                delays = delays or self._pauses()
                pause = next(delays)
                self._logger.info("connect failed; reconnecting in %.1f seconds: %s", pause, error)
                self._sleep(pause)
                continue
            delays = None
            with connection:
                yield connection

    def _pauses(self) -> Iterator[float]:
        if self._delays is not None:
            yield from self._delays() if callable(self._delays) else self._delays
            return
        pause = random.random() * 5
        while True:
            yield pause
            pause = min(60.0, max(3.1, pause * 1.6))


class unix_reconnect(reconnect):
    """Like reconnect, to a Unix socket."""

    def __init__(
        self, path: str | os.PathLike[str] | None = None, uri: str | None = None, **named: Any
    ) -> None:
        ours = {key: named.pop(key) for key in ("process_exception", "reconnect_delays") if key in named}
        super().__init__(None, **ours)
        self._connect = lambda: _unix_connect(path, uri, named)


def _connect(uri: str, named: dict[str, Any]) -> ClientConnection:
    parse_uri(uri)
    return _opened(lambda heads: house.connect(uri, **{"proxy": True, **_defaults(named)}, heads=heads))


def _unix_connect(
    path: str | os.PathLike[str] | None, uri: str | None, named: dict[str, Any]
) -> ClientConnection:
    return _opened(lambda heads: house.unix_connect(path, uri, **_defaults(named), heads=heads))


def _defaults(named: dict[str, Any]) -> dict[str, Any]:
    validate_subprotocols(named.get("subprotocols") or [])
    found = {"compression": "deflate", "user_agent_header": USER_AGENT, **named}
    found["logger"] = found.get("logger") or logging.getLogger("websockets.client")
    return found


def _opened(connect: Callable[[Heads], ClientConnection]) -> ClientConnection:
    heads = Heads(check_answer)
    try:
        return connect(heads)
    except HandshakeRefused as error:
        response = heads.response or Response(error.status, "")
        response.body = error.body.encode()
        raise InvalidStatus(response) from error
    except (AttemptFailed, ConnectTimeout):
        raise
    except BadUrl as error:
        if heads.response is None:
            raise
        raise InvalidURI(heads.response.headers.get("Location", ""), str(error)) from error  # a redirect
    except CannotConnect as error:
        cause = error if hasattr(heads, "request") else EOFError(str(error))
        raise InvalidMessage("did not receive a valid HTTP response") from cause
