"""What operators use: the HTTP API, metrics, and the page /ops.

May import `server.session` and what is below it. Uses the chat through `AdministeredChat`.
Runs on: request threads.
"""
