"""The chat server: `Chat`, mounting, the upgrade of requests, the registry of connections, and shutdown.

Its packages, from the lowest to the highest: `http` reads requests and hands sockets over; `protocol` defines
the messages of the dialects; `auth` decides who somebody is and what they may do, and `budgets` how much they
may use; `session` handles one person's connection; `admin` serves operators. Each package imports only from
those before it.
"""
