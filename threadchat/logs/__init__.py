"""What the log looks like, and how a flood of one kind of line is kept from filling it.

May import `errors` and `config`. Runs on: whichever thread logs.
"""
