"""Keeps rooms' logs, presence and delivery in Redis, where many nodes share them."""

from threadchat.broker.redis.broker import RedisBroker

__all__ = ["RedisBroker"]
