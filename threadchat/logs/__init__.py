"""The format of the log, and a limit that keeps a flood of one kind of line from filling it.

May import `errors` and `config`. Runs on: any thread that logs.
"""
