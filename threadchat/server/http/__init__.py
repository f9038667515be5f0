"""HTTP: accepts connections, reads one request within limits, calls an application, hands the socket over.

May import `wire` and what is below it; knows nothing of rooms and people.
Runs on: the accept thread, and one `http-N` thread a request, which becomes the connection's reader.
"""
