"""The synchronous chat client: sends commands, iterates over events, reconnects and resumes."""

from __future__ import annotations

from threadchat.client.backoff import Backoff
from threadchat.client.client import Client
from threadchat.client.event import ChatEvent
from threadchat.client.in_flight import State
from threadchat.client.protocol import Joined, Page, Person, Published, RoomInfo, Unread

__all__ = [
    "Backoff",
    "ChatEvent",
    "Client",
    "Joined",
    "Page",
    "Person",
    "Published",
    "RoomInfo",
    "State",
    "Unread",
]
