"""One Kafka and one Redis for all tests of deployment, processes of this machine, as they read our files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.guarded import (
    GuardedKafka,
    GuardedRedis,
    GuardedRedisCluster,
    start_kafka,
    start_redis,
    start_redis_cluster,
)
from tests.worker.cli.conftest import command

__all__ = ["command"]


@pytest.fixture(scope="package")
def guarded_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedRedis]:
    with start_redis(tmp_path_factory.mktemp("guarded-redis")) as redis:
        yield redis


@pytest.fixture(scope="package")
def guarded_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedRedisCluster]:
    with start_redis_cluster(tmp_path_factory.mktemp("guarded-redis-cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="package")
def guarded_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedKafka]:
    with start_kafka(tmp_path_factory.mktemp("guarded-kafka")) as kafka:
        yield kafka
