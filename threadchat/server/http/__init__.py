"""HTTP: accepts connections, reads one request within limits, calls an application, hands over the socket.

May import `wire` and what is below it; knows nothing about rooms and people.
Runs on: the accept thread, and one thread `http-N` for each request, which becomes the connection's reader.
"""
