"""Every setting: its unit, range, reason and default, and where its value comes from.

May import `errors`. Runs on: any thread; nothing here changes after startup.
"""
