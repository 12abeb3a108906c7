"""Clients of Redis that share no code with the worker's: for whoever looks behind it."""

from __future__ import annotations

from typing import Any, cast

from redis import Redis
from redis.cluster import RedisCluster


def redis_client(url: str, **options: Any) -> Redis:
    """Of one server, or of the cluster that it is in: redis-py's own cluster client, which has the same methods."""
    client = Redis.from_url(url, **options)
    told: Any = client.info("cluster")
    if not told["cluster_enabled"]:
        return client
    client.close()
    options.pop("retry", None)
    return cast(Redis, RedisCluster.from_url(url, **options))
