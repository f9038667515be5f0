"""The server: one HTTP request a connection, and for those that upgrade, a person in the chat."""
