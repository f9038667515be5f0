"""Probes of simple-websocket."""

from parity_probes.probing import Table

TABLE = Table("flask_sock", "", 0, 0)


def libraries():
    return None, None
