"""Finds files with secrets in them that everybody on this machine may read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from threadchat.config.load import Resolved
from threadchat.config.setting import FILE, shown
from threadchat.config.settings import SETTINGS


def exposed_files(resolved: Resolved, config_file: str | None) -> list[str]:
    """A warning for each such file: of settings, of one secret, of a private key, and of a database."""
    if os.name != "posix":
        return []
    found = {path: what for path, what in _files(resolved, config_file) if _is_open_to_all(path)}
    return [
        f"everybody on this machine may read {path if path.isprintable() else repr(path)}, which {what}; "
        "chmod 600 keeps it private"
        for path, what in found.items()
    ]


def _files(resolved: Resolved, config_file: str | None) -> Iterator[tuple[str, str]]:
    config = resolved.config
    for name, setting in SETTINGS.items():
        value, label = getattr(config, name), resolved.origins[name]
        if setting.told(value) == value:
            continue
        if label.startswith(FILE):
            yield label.removeprefix(FILE), f"is the secret {name}"
        elif config_file and label == shown(config_file):
            yield config_file, f"holds the secret {name}"
    if config.tls_key:
        yield config.tls_key, "is the private key of TLS"
    if config.broker.startswith("sqlite:"):
        path = config.broker.removeprefix("sqlite:")
        for each in (path, f"{path}-wal"):
            yield each, "holds what was said, and the key of resume tokens"


def _is_open_to_all(path: str) -> bool:
    try:
        return bool(os.stat(path).st_mode & stat.S_IROTH)
    except (OSError, ValueError):
        return False  # there is none yet, or whoever needs it will say so
