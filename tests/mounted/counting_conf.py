"""Shows an application how many connections its worker of gunicorn believes to have."""

from __future__ import annotations

from typing import Any


def pre_request(worker: Any, request: Any) -> None:
    request.headers.append(("X-CONNECTIONS", str(getattr(worker, "nr_conns", 1))))
