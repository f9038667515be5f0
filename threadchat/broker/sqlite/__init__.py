"""Keeps rooms' logs, user ids and the resume key in one SQLite file, which outlives the process."""

from threadchat.broker.sqlite.broker import SqliteBroker

__all__ = ["SqliteBroker"]
