"""Makes the hub of a chat, and its event log, from the settings for rooms, logs and inboxes."""

from __future__ import annotations

from collections.abc import Callable

from threadchat.chat.broker_interface import Broker
from threadchat.chat.delivery.live_delivery import Batching
from threadchat.chat.eventlog.json_lines import JsonLines
from threadchat.chat.hub import Hub
from threadchat.chat.inboxes import InboxRules
from threadchat.chat.log.events import UserId
from threadchat.chat.routing import Counted, make_routing
from threadchat.config.settings import Config
from threadchat.server.protocol.encoding import BROADCAST_ROOM
from threadchat.server.session.statistics import Statistics
from threadchat.wire.pinger import Pinger


def make_hub(
    broker: Broker,
    config: Config,
    pinger: Pinger,
    statistics: Statistics,
    keeps_inbox: Callable[[UserId], bool],
) -> Hub:
    """A hub that reports to `statistics`; `keeps_inbox` returns whether a user has an inbox."""
    events = max(1, config.outbox_messages // 4)  # as many as there is room for in an outbox that is not HIGH
    batching = Batching(pinger.call_later, events, config.outbox_bytes // 4 // events)
    routing = make_routing(config.routing, config.request_buffer, config.send_timeout)
    return Hub(
        broker,
        routing=Counted(routing, statistics.published),
        schedule=pinger.call_later,
        room_ttl=config.room_ttl,
        max_rooms=config.max_rooms,
        reserved=(BROADCAST_ROOM,),
        request_buffer=config.request_buffer,
        history_size=config.history_size,
        history_bytes=config.history_bytes,
        logs_bytes=config.logs_bytes,
        send_timeout=config.send_timeout,
        announce_limit=config.announce_limit,
        fell_behind=statistics.fell_behind,
        batching=None if pinger.stopped else batching,  # a fake clock has no thread for what was deferred
        inboxes=InboxRules(keeps_inbox, max(1, config.inbox_size), config.inbox_age),
        clock=pinger.clock,
    )


def make_event_log(config: Config) -> JsonLines | None:
    """The event log, if there is to be one. Raises OSError."""
    if not config.event_log:
        return None
    return JsonLines(
        config.event_log,
        max_bytes=config.event_log_bytes,
        max_age=config.event_log_age,
        total_bytes=config.event_log_total,
    )
