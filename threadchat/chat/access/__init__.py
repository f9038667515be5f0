"""Who is kept out, and of what: bans and mutes, revocations, block lists; and the addresses that they name.

May import `errors`, `normalize` and `chat.log`. Runs on: any thread.
"""
