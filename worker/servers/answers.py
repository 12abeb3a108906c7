"""Whether servers serve: a listening port is not enough.

A broker first has to be admitted by its controller, a Redis has to load its data, and behind the port of a container
may be nobody yet.
"""

from __future__ import annotations

from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from redis import Redis
from redis.exceptions import RedisError

from worker.kafka_clients import make_client


def kafka_answers(bootstrap_servers: str, brokers: int = 1) -> bool:
    """Whether at least so many brokers serve."""
    try:
        admin = make_client(
            KafkaAdminClient, bootstrap_servers=bootstrap_servers, request_timeout_ms=2000, bootstrap_timeout_ms=2000
        )
    except KafkaError:
        return False
    try:
        return len(admin.describe_cluster()["brokers"]) >= brokers
    except KafkaError:
        return False
    finally:
        admin.close()


def redis_answers(url: str) -> bool:
    """Whether it serves, its data loaded."""
    with Redis.from_url(url, socket_timeout=2.0, retry=None) as client:
        try:
            return bool(client.ping())
        except RedisError:
            return False
