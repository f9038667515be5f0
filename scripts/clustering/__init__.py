"""A whole cluster on one machine: Redis, nodes, and nginx in front of them; for people and for tests."""
