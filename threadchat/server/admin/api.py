"""The HTTP API for applications in any language: checks a request, decodes the call, answers in JSON."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterable
from typing import Any, Final
from wsgiref.types import StartResponse

import msgspec

from threadchat.errors import CommandError, ErrorCode, RoomClosed
from threadchat.logs.rate_limit import LogRateLimit
from threadchat.server.admin import api_moderation, api_reports, api_schema
from threadchat.server.admin.administered import AdministeredChat
from threadchat.server.admin.api_schema import Call
from threadchat.server.auth.failures import Failures
from threadchat.server.http.handshake import is_own_page
from threadchat.server.http.replies import send
from threadchat.server.http.request import BODY_BYTES, PeerGone, RequestError

log = logging.getLogger(__name__)
log.addFilter(LogRateLimit())

OVERHEAD: Final = 16 * 1024
"""Bytes of a body in addition to the message: other fields, and JSON escapes."""

CALLS: Final[dict[str, type[Call]]] = {
    "publish": api_schema.Publish,
    "edit": api_schema.Edit,
    "react": api_schema.React,
    "unreact": api_schema.Unreact,
    "emit": api_schema.Emit,
    "direct": api_schema.SendDirect,
    "disconnect": api_schema.Disconnect,
    "rooms": api_schema.Rooms,
    "who": api_schema.Who,
    "history": api_schema.History,
    "kick": api_moderation.Kick,
    "ban": api_moderation.Ban,
    "unban": api_moderation.Unban,
    "mute": api_moderation.Mute,
    "unmute": api_moderation.Unmute,
    "sanctions": api_moderation.Sanctions,
    "revoke": api_moderation.Revoke,
    "delete": api_moderation.Delete,
    "close": api_moderation.Close,
    "info": api_reports.Info,
    "connections": api_reports.Connections,
    "ops": api_reports.Ops,
}
"""The calls by the last part of the path: `POST /api/publish`."""

_DECODERS: Final = {name: msgspec.json.Decoder(call) for name, call in CALLS.items()}

_STATUSES: Final = {
    200: "200 OK",
    400: "400 Bad Request",
    401: "401 Unauthorized",
    403: "403 Forbidden",
    404: "404 Not Found",
    405: "405 Method Not Allowed",
    409: "409 Conflict",
    410: "410 Gone",
    411: "411 Length Required",
    413: "413 Content Too Large",
    415: "415 Unsupported Media Type",
    429: "429 Too Many Requests",
    500: "500 Internal Server Error",
    503: "503 Service Unavailable",
}

_BY_CODE: Final = {
    ErrorCode.INTERNAL: 503,  # as a CommandError it means that the broker is away
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.UNKNOWN_ROOM: 404,
    ErrorCode.PERMISSION_DENIED: 403,
    ErrorCode.UNKNOWN_COMMAND: 404,
    ErrorCode.ALREADY: 409,
    ErrorCode.LIMIT_EXCEEDED: 409,
    ErrorCode.BAD_REQUEST: 400,
    ErrorCode.NOT_AVAILABLE: 404,
    ErrorCode.TOO_MANY_REQUESTS: 429,
    ErrorCode.UNRECOVERABLE_POSITION: 410,
}


class Refused(CommandError):
    """A refused request, with the status and extra headers of the reply."""

    def __init__(self, status: int, code: ErrorCode, reason: str, *headers: tuple[str, str]) -> None:
        super().__init__(code, reason)
        self.status = status
        self.headers = headers


class Key:
    """The secret that operators and applications send with each request."""

    def __init__(self, secret: str, failures: Failures | None = None) -> None:
        self._secret = secret.encode()
        self._failures = failures or Failures()

    def fits(self, given: str, environ: dict[str, Any]) -> bool:
        """Whether `given` is the key. The comparison takes constant time.

        A wrong or missing key is logged and counted. If too many come from one address, this waits.
        """
        if hmac.compare_digest(given.encode("latin-1", "replace"), self._secret):
            return True
        what = "a wrong API key" if given else "no API key"
        log.warning("%s came from %s", what, environ.get("REMOTE_ADDR") or "-")
        self._failures.note_request("api_key", environ)
        return False


class Api:
    """A WSGI application below `/api/`. It takes `POST` with a JSON object and answers with one.

    Without the key nothing is done, and the reply does not say which calls exist. The key is a header, and
    the body must have the media type of JSON. A page of another origin can send neither without a preflight
    request, which is always refused. May be called on any thread.
    """

    def __init__(self, chat: AdministeredChat, key: Key, max_message_size: int) -> None:
        self._chat = chat
        self._key = key
        self._most = max_body(max_message_size)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answers one request."""
        headers: tuple[tuple[str, str], ...] = ()
        try:
            name = environ["PATH_INFO"].removeprefix("/api/")
            self._check(environ, name)
            status, answer = 200, self._answer(name, self._read(environ))
        except Refused as refused:
            status, answer, headers = refused.status, _error(refused), refused.headers
        except CommandError as error:
            status, answer = self._status(error), _error(error)
        except RoomClosed:
            gone = CommandError(ErrorCode.NOT_AVAILABLE, "the chat is closed")
            status, answer = 503, _error(gone)
        except (PeerGone, RequestError):  # raised by our own server, which also answers them
            raise
        except Exception:
            log.exception("%s failed", environ["PATH_INFO"])
            status, answer = 500, _error(CommandError(ErrorCode.INTERNAL))
        body = msgspec.json.encode(answer)
        plain = ("Content-Type", "application/json"), ("Cache-Control", "no-store")
        return send(start_response, _STATUSES[status], body, *plain, *headers)

    def _check(self, environ: dict[str, Any], name: str) -> None:
        if environ["REQUEST_METHOD"] != "POST":
            reason = "send POST with a JSON object"
            raise Refused(405, ErrorCode.BAD_REQUEST, reason, ("Allow", "POST"))
        if not is_own_page(environ):
            raise Refused(403, ErrorCode.PERMISSION_DENIED, "pages of other origins may not use the API")
        if not self._key.fits(environ.get("HTTP_X_API_KEY", ""), environ):
            challenge = ("WWW-Authenticate", "X-API-Key")  # required by RFC 9110 section 15.5.2
            raise Refused(401, ErrorCode.UNAUTHORIZED, "send the server's api_key as X-API-Key", challenge)
        if name not in CALLS:
            known = ", ".join(CALLS)
            raise Refused(404, ErrorCode.UNKNOWN_COMMAND, f"unknown call {name!r:.40}; there are {known}")

    def _read(self, environ: dict[str, Any]) -> bytes:
        """Reads the body. It must have the media type of JSON and a length within the limit."""
        if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, ErrorCode.BAD_REQUEST, "send a JSON object, as Content-Type: application/json")
        length = environ.get("CONTENT_LENGTH", "")
        if not (length.isascii() and length.isdigit()):
            raise Refused(411, ErrorCode.BAD_REQUEST, "send the body with a Content-Length")
        if int(length[:20]) > self._most:
            raise Refused(
                413, ErrorCode.BAD_REQUEST, f"the body is too large; at most {self._most} bytes are allowed"
            )
        body: bytes = environ["wsgi.input"].read(int(length))
        return body

    def _answer(self, name: str, body: bytes) -> Any:
        try:
            call = _DECODERS[name].decode(body)
        except msgspec.ValidationError as error:
            raise Refused(400, ErrorCode.BAD_REQUEST, f"{name}: {error}{_fields(name)}") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refused(400, ErrorCode.BAD_REQUEST, f"not JSON: {error}; {_example(name)}") from None
        return call.answer(self._chat)

    def _status(self, error: CommandError) -> int:
        if error.code == ErrorCode.NOT_AVAILABLE and self._chat.closing:
            return 503
        if error.code == ErrorCode.LIMIT_EXCEEDED and error.temporary:
            return 429
        return _BY_CODE[error.code]


def max_body(max_message_size: int) -> int:
    """The limit for the body of a call, in bytes."""
    return max(BODY_BYTES, max_message_size + OVERHEAD)


def _fields(name: str) -> str:
    """The fields of a call, for the error of an invalid one."""
    fields = msgspec.structs.fields(CALLS[name])
    told = ", ".join(field.name if field.required else f"[{field.name}]" for field in fields)
    return f"; {name} takes {told}" if told else f"; {name} takes an empty object, {{}}"


def _example(name: str) -> str:
    return f"send a JSON object{_fields(name)}"


def _error(error: CommandError) -> dict[str, Any]:
    told = {"code": int(error.code), "reason": error.reason, "temporary": error.temporary}
    return {"error": told}
