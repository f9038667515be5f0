"""What all threads of this package share: threads that start late, forks, numbers, periodic work, reports.

May import nothing of this package but its own modules. Runs on: any thread.
"""
