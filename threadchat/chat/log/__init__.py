"""What is said in a room: events, drafts and positions, message keys, and the sequence that numbers them.

May import `errors`. Runs on: publishers' threads.
"""
