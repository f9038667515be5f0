"""Lets `python -m threadchat` run the command line."""

from __future__ import annotations

import sys

from threadchat.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
