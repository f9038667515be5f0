"""The event log: a listener that writes every event to files, and the removal of deleted texts from them."""

from threadchat.chat.eventlog.json_lines import JsonLines

__all__ = ["JsonLines"]
