"""Whether a Kafka serves: a listening port is not enough, a broker first has to be admitted by its controller."""

from __future__ import annotations

from kafka import KafkaAdminClient
from kafka.errors import KafkaError


def kafka_answers(bootstrap_servers: str, brokers: int = 1) -> bool:
    """Whether at least so many brokers serve."""
    try:
        admin = KafkaAdminClient(
            bootstrap_servers=bootstrap_servers, request_timeout_ms=2000, bootstrap_timeout_ms=2000
        )
    except KafkaError:
        return False
    try:
        return len(admin.describe_cluster()["brokers"]) >= brokers
    except KafkaError:
        return False
    finally:
        admin.close()
