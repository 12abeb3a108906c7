"""Clients of Redis that share no code with the worker's: for whoever looks behind it."""

from __future__ import annotations

from typing import Any, Final, cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry

REDIS_ERRORS: Final = (RedisError, RedisClusterException)
"""What these clients raise; the cluster's has errors that are no RedisError."""


def redis_client(url: str, timeout_s: float = 5.0) -> Redis:
    """Of one server, or of the cluster that it is in: redis-py's own cluster client, which has the same methods."""
    retry = Retry(NoBackoff(), 0)
    client = Redis.from_url(url, socket_timeout=timeout_s, retry=retry)
    told: Any = client.info("cluster")
    if not told["cluster_enabled"]:
        return client
    client.close()
    return cast(Redis, RedisCluster.from_url(url, socket_timeout=timeout_s, retry=retry))
