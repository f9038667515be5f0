"""The command line: `python -m threadchat`, its server process and workers, tokens, and the terminal client.

May import everything. Runs on: the main thread.
"""
