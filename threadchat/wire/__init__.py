"""One connection: its outbox, its writer, its reader, its deadlines. Knows nothing of chat."""
