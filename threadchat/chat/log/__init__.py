"""A room's log: events, drafts and positions, message keys, and the sequencer that assigns offsets.

May import `errors`. Runs on: publishers' threads.
"""
