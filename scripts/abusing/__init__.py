"""Attacks by strangers on a server, while two healthy people talk: `scripts/abuse`."""
