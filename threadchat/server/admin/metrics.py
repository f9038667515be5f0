"""The metrics for Prometheus at `/metrics`. They are computed on request, so they cost nothing otherwise."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final
from wsgiref.types import StartResponse

from threadchat.server.admin.api import Key
from threadchat.server.admin.snapshot import Inspector, Snapshot, Spread
from threadchat.server.http.replies import reply, send
from threadchat.version import __version__
from threadchat.wire.connection import ConnectionState

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

MISSING: Final = "metrics need prometheus_client; install it with: pip install 'threadchat[metrics]'"


def available() -> bool:
    """Whether prometheus_client is installed. It is only imported when it is used."""
    return importlib.util.find_spec("prometheus_client") is not None


class Metrics:
    """A WSGI application for `/metrics`. `key` is None if everybody may read the metrics.

    The key comes as `X-API-Key`, or as `Authorization: Bearer`, which Prometheus can send. May be called on
    any thread.
    """

    def __init__(self, inspector: Inspector, key: Key | None) -> None:
        self._inspector = inspector
        self._key = key
        self._registry: CollectorRegistry | None = None

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answers one request."""
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return reply(start_response, "405 Method Not Allowed", "Use GET.", ("Allow", "GET, HEAD"))
        if self._key is not None and not self._key.fits(_given(environ), environ):
            sentence = "Send the server's api_key, as X-API-Key or as Authorization: Bearer."
            return reply(start_response, "401 Unauthorized", sentence, ("WWW-Authenticate", "Bearer"))
        if not available():
            return reply(start_response, "501 Not Implemented", f"{MISSING}.")
        return send(start_response, "200 OK", self._render(), ("Content-Type", _FORMAT), _FRESH)

    def _render(self) -> bytes:
        from prometheus_client import generate_latest

        if self._registry is None:
            self._registry = _make_registry(self._inspector)
        return generate_latest(self._registry)


_FORMAT: Final = "text/plain; version=0.0.4; charset=utf-8"
_FRESH: Final = ("Cache-Control", "no-store")


def _given(environ: dict[str, Any]) -> str:
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    given: str = environ.get("HTTP_X_API_KEY", "") or bearer
    return given


def _make_registry(inspector: Inspector) -> CollectorRegistry:
    """Makes a registry of our own, because the default registry belongs to the application."""
    from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

    registry = CollectorRegistry()
    registry.register(Collector(inspector))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


class Collector:
    """Converts a snapshot to metrics. It has the methods of prometheus_client's abstract `Collector`."""

    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector

    def describe(self) -> list[Metric]:
        """Returns nothing, because otherwise the registry would call `collect` to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Returns the metrics of a snapshot; the registry calls it. Runs on: the request's thread."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        seen = self._inspector.look()
        info = {"version": __version__, "node": self._inspector.node}
        yield InfoMetricFamily("threadchat", "The version of threadchat and the id of the node.", info)
        for name, text, value in _gauges(seen):
            yield GaugeMetricFamily(f"threadchat_{name}", text, value)
        for name, text, total in _counters(seen):
            yield CounterMetricFamily(f"threadchat_{name}", text, total)
        yield from _labelled(seen)
        yield from _spreads(seen)


def _gauges(seen: Snapshot) -> list[tuple[str, str, float]]:
    return [
        ("uptime_seconds", "Time since the chat was made.", seen.uptime),
        ("ready", "1 if the broker can be reached, 0 while it is away.", seen.ready),
        ("rooms", "Rooms that are open on this node.", seen.rooms),
        ("unanswered", "Connections whose last ping has waited for a pong for over 5 s.", seen.unanswered),
        ("queued_bytes", "Bytes that wait in all outboxes together.", seen.queued_bytes),
        ("catching_up", "Connections that catch up on the logs of their rooms.", seen.threads["producer"]),
    ]


def _counters(seen: Snapshot) -> list[tuple[str, str, float]]:
    totals = seen.totals
    return [
        ("connections_opened", "Connections that were opened.", totals.connections),
        ("events", "Events published through this node.", totals.events),
        (
            "deliveries",
            "Messages written to connections: events, private messages, replies.",
            totals.messages_out,
        ),
        ("received_messages", "Messages that arrived.", totals.messages_in),
        ("received_bytes", "Bytes that arrived.", totals.bytes_in),
        ("sent_bytes", "Bytes written to connections.", totals.bytes_out),
        ("writes", "System calls that wrote to connections; each may carry many messages.", totals.writes),
        ("fell_behind", "Live subscriptions whose connection could not keep up.", totals.fell_behind),
        ("pings_unanswered", "Pings without a pong when the next ping was due.", totals.pings_unanswered),
    ]


def _labelled(seen: Snapshot) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    states = GaugeMetricFamily("threadchat_connections", "Connections by state.", labels=["state"])
    for state in ConnectionState:
        if state is not ConnectionState.DISCONNECTED:
            states.add_metric([state.name.lower()], seen.states[state.name])
    threads = GaugeMetricFamily("threadchat_threads", "Threads by what they do.", labels=["role"])
    for role, count in sorted(seen.threads.items()):
        threads.add_metric([role], count)
    closes = CounterMetricFamily("threadchat_closes", "Connections that ended, by code.", labels=["code"])
    for code, count in sorted(seen.totals.closes.items()):
        closes.add_metric([str(code)], count)
    errors = CounterMetricFamily("threadchat_errors", "Error replies, by code.", labels=["code"])
    for code, count in sorted(seen.totals.errors.items()):
        errors.add_metric([str(code)], count)
    broker = CounterMetricFamily("threadchat_broker", "What the broker counts.", labels=["what"])
    for what, count in sorted(seen.broker.items()):
        broker.add_metric([what], count)
    refused = CounterMetricFamily("threadchat_refused", "Wrong API keys and tokens.", labels=["what"])
    for what, count in sorted(seen.failures.items()):
        refused.add_metric([what], count)
    yield from (states, threads, closes, errors, broker, refused)


def _spreads(seen: Snapshot) -> Iterator[Metric]:
    """Totals as summaries, and current connections as histograms whose values can also decrease."""
    from prometheus_client.core import GaugeHistogramMetricFamily, SummaryMetricFamily

    totals = seen.totals
    handler = "Time that commands took; those that arrived together are one observation."
    yield SummaryMetricFamily("threadchat_handler_seconds", handler, totals.bursts, totals.handled)
    turns = "Time from a message in an empty outbox until its writer may write."
    yield SummaryMetricFamily("threadchat_turnstile_wait_seconds", turns, totals.turns, totals.waited)
    for name, text, spread in (
        ("outbox_messages", "Connections by the number of messages in their outbox.", seen.depths),
        ("outbox_age_seconds", "Connections by the time for which their outbox has had messages.", seen.ages),
        ("ping_round_trip_seconds", "Connections by the round trip of their last ping.", seen.round_trips),
    ):
        yield GaugeHistogramMetricFamily(f"threadchat_{name}", text, _buckets(spread), spread.sum)


def _buckets(spread: Spread) -> list[tuple[str, float]]:
    """Cumulative buckets, as Prometheus requires."""
    below = 0
    buckets = []
    for bound, count in zip((*map(str, spread.bounds), "+Inf"), spread.counts, strict=True):
        below += count
        buckets.append((bound, float(below)))
    return buckets
