"""What strangers may do to a server, each beside two healthy people: `scripts/abuse`."""
