"""Finds the proxy for a connection, and opens a tunnel through it."""

from __future__ import annotations

import base64
import importlib
import re
import socket
import urllib.request
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from threadchat.errors import ConfigError
from threadchat.plain.http import SOFTWARE, Headers, Response
from threadchat.plain.websockets.exceptions import (
    InvalidProxy,
    InvalidProxyMessage,
    InvalidProxyStatus,
    ProxyError,
)
from threadchat.wire.connecting.address import Address
from threadchat.wire.connecting.cancellation import Cancellation
from threadchat.wire.connecting.dial import MAX_HEAD, Deadline, OpenTcp, connect_tcp

_SCHEMES: Final = {"http": 80, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}


class Proxy(NamedTuple):
    """The address of a proxy."""

    scheme: str
    host: str
    port: int
    username: str | None = None
    password: str | None = None


def parse_proxy(url: str) -> Proxy:
    """Parses the address of a proxy. Raises InvalidProxy, which says what is allowed."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidProxy(url, str(error)) from None
    if parts.scheme not in _SCHEMES:
        raise InvalidProxy(url, f"scheme {parts.scheme} isn't supported")
    if not parts.hostname:
        raise InvalidProxy(url, "hostname isn't provided")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise InvalidProxy(url, "path, query and fragment are meaningless")
    username = password = None
    if parts.username is not None:
        if parts.password is None:
            raise InvalidProxy(url, "username provided without password")
        username, password = unquote(parts.username), unquote(parts.password)
    return Proxy(parts.scheme, parts.hostname, port or _SCHEMES[parts.scheme], username, password)


def system_proxy(address: Address) -> str | None:
    """The proxy for an address according to the system and its environment; None if there is none."""
    if urllib.request.proxy_bypass(f"{address.host}:{address.port}"):
        return None
    known = urllib.request.getproxies()
    schemes = ["wss", "socks", "https"] if address.secure else ["ws", "socks", "https", "http"]
    for scheme in schemes:
        if known.get(scheme):
            found = known[scheme]
            # Some systems name SOCKS proxies as if they spoke HTTP.
            return re.sub("^http://", "socks5h://", found) if scheme == "socks" else found
    return None


def way_through(
    proxy: str | Literal[True], address: Address, user_agent: str | None = SOFTWARE
) -> OpenTcp | None:
    """The function that opens connections through `proxy`; True means the system's proxy.

    None without a proxy. Raises InvalidProxy, and ConfigError if the extra for SOCKS is not installed.
    """
    url = system_proxy(address) if proxy is True else proxy
    if url is None:
        return None
    found = parse_proxy(url)
    if found.scheme == "http":
        return lambda address, deadline, cancellation: _by_http(
            found, address, deadline, cancellation, user_agent
        )
    try:
        socks = importlib.import_module("socks")
    except ImportError:
        raise ConfigError(f"proxy={url!r:.60}: SOCKS needs PySocks: pip install threadchat[socks]") from None
    return lambda address, deadline, cancellation: _by_socks(socks, found, address, deadline)


def _by_http(
    proxy: Proxy, address: Address, deadline: Deadline, cancellation: Cancellation, user_agent: str | None
) -> socket.socket:
    here = Address(proxy.host, proxy.port, False, "", "")
    sock = connect_tcp(here, deadline, cancellation)
    try:
        host = f"[{address.host}]" if ":" in address.host else address.host
        authority = f"{host}:{address.port}"
        headers = Headers({"Host": authority})
        if user_agent is not None:
            headers["User-Agent"] = user_agent
        if proxy.username is not None:
            word = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
            headers["Proxy-Authorization"] = f"Basic {word}"
        sock.sendall(f"CONNECT {authority} HTTP/1.1\r\n".encode() + headers.serialize())
        response = _read_answer(sock, deadline)
        if not 200 <= response.status_code < 300:
            raise InvalidProxyStatus(response)
    except TimeoutError:
        sock.close()
        raise deadline.over() from None
    except BaseException:
        sock.close()
        raise
    return sock


def _read_answer(sock: socket.socket, deadline: Deadline) -> Response:
    """The head of the proxy's answer. It is read byte by byte, because what follows is the server's."""
    head = b""
    while not head.endswith((b"\r\n\r\n", b"\n\n")):
        sock.settimeout(deadline.left())
        byte = sock.recv(1)
        head += byte
        if not byte or len(head) > MAX_HEAD:
            raise InvalidProxyMessage("did not receive a valid HTTP response from proxy")
    try:
        return Response.parse(head)
    except ValueError as error:
        raise InvalidProxyMessage("did not receive a valid HTTP response from proxy") from error


def _by_socks(socks: Any, proxy: Proxy, address: Address, deadline: Deadline) -> socket.socket:
    try:
        opened: socket.socket = socks.create_connection(
            (address.host, address.port),
            timeout=deadline.left(),
            proxy_type=socks.SOCKS4 if proxy.scheme.startswith("socks4") else socks.SOCKS5,
            proxy_addr=proxy.host,
            proxy_port=proxy.port,
            proxy_rdns=proxy.scheme in ("socks4a", "socks5h"),
            proxy_username=proxy.username,
            proxy_password=proxy.password,
        )
    except socks.ProxyError as error:
        raise ProxyError(f"failed to connect to SOCKS proxy: {error}") from error
    return opened
