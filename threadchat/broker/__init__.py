"""Where rooms' logs live: in memory, in a SQLite file, or in a Redis that many nodes share."""
