"""Probes of simple-websocket."""

from parity_probes.probing import Table

TABLE = Table("simple_websocket", "", 0, 0)


def libraries():
    return None, None
