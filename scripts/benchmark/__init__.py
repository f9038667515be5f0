"""The harness behind `scripts/bench`: it measures threadchat and its peers side by side."""
