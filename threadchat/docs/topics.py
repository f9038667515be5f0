"""The topics of the documentation, in the order in which they are listed, and their text."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

GROUPS: Final[Mapping[str, Mapping[str, str]]] = {
    "Start": {
        "start-alone": "a server of its own, and the terminal client",
        "start-flask": "a chat in a Flask application",
        "start-django": "a chat in a Django project",
        "start-daemon": "a threaded program with a port for WebSockets",
        "start-socketio": "moving a Flask-SocketIO application",
        "browser": "a page of your own",
    },
    "How to": {
        "live-updates": "events and commands of your own",
        "celery": "publishing from jobs, scripts and other processes",
        "auth": "who may connect, and what they may do",
        "moderation": "kick, ban, mute and delete",
        "testing": "fixtures and helpers for your tests",
        "deploy": "servers, proxies, TLS, logs, signals and the page /ops",
        "many-machines": "several nodes over Redis",
        "lasting-log": "rooms that outlive the process, in SQLite",
        "troubleshooting": "symptom, cause and fix",
    },
    "Reference": {
        "protocol": "commands, replies and events",
        "codes": "error codes and close codes",
        "settings": "every setting, its default and its range",
        "http-api": "the calls of /api/",
        "metrics": "what Prometheus gets",
        "python-api": "hooks, publishing, the client, and rooms without a server",
        "browser-api": "threadchat.js",
        "parity": "plain WebSockets, and programs for other libraries",
    },
    "Why": {
        "design": "threads, queues, folders, and the way of a message",
        "promises": "what holds under pressure",
        "benchmarks": "how fast it is, and where others are faster",
        "security": "what to set before you expose the server",
    },
    "The project": {
        "changelog": "what changed in each version",
        "contributing": "running the tests, and where things go",
    },
}
WEB: Final[Mapping[str, Mapping[str, str]]] = {
    title: topics for title, topics in GROUPS.items() if title != "The project"
}
"""What a server shows to everybody. The changelog would tell strangers which version runs."""
TOPICS: Final[Mapping[str, str]] = {name: what for group in GROUPS.values() for name, what in group.items()}
"""What each topic is about."""


def read(topic: str) -> str:
    """The Markdown of a topic. Raises KeyError if there is no such topic."""
    if topic not in TOPICS:
        raise KeyError(topic)
    file = importlib.resources.files("threadchat.docs") / f"{topic}.md"
    return file.read_text(encoding="utf-8")


def nearest(word: str) -> str | None:
    """The topic that was probably meant by `word`, or None."""
    containing = [topic for topic in TOPICS if word and word in topic]
    found = containing or get_close_matches(word, TOPICS, 1)
    return found[0] if found else None
