"""What one person, one address or one connection may use: token buckets, and numbers that are held at once.

May import `server.http` and what is below it. Runs on: the connections' reader threads, unless a method says
otherwise.
"""
