"""A complete cluster on one machine: Redis, nodes and nginx; for people and for tests."""
