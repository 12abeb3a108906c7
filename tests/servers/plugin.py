"""The pytest side of the servers: the option, the header, the fixtures.

`kafka` and `redis_server` are shared by the whole run: a test keeps to its own `space` on them and never stops them.
`private_kafka` and `private_redis` start one for a test that will. `real_kafka` is `kafka` for tests of what only
Apache Kafka does rightly (transactions, compaction, restarts). `redis_cluster` and `private_redis_cluster` are a Redis
Cluster, shared and of the test's own.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar, cast

import pytest

from tests.servers.backends import (
    BACKENDS,
    Backend,
    describe,
    kafka_runner,
    make_kafka,
    make_redis,
    make_redis_cluster,
    redis_runner,
)
from tests.servers.local_cluster import LocalRedisCluster
from tests.servers.ports import KafkaServer, RedisServer, Startable
from worker.servers.errors import ServerUnavailable

S = TypeVar("S", bound=Startable)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        choices=BACKENDS,
        default="auto",
        help="where Kafka and Redis come from: named in the environment, Docker, local processes, the demo's wheels",
    )


def pytest_report_header(config: pytest.Config) -> str:
    return describe(_backend(config))


@dataclass(frozen=True, slots=True)
class Space:
    """Names of a test's own on shared servers."""

    prefix: str
    """Of topics (the setting TOPICS__PREFIX)."""
    group: str
    """The consumer group (KAFKA__GROUP_ID)."""
    namespace: str
    """Of keys in Redis (REDIS__NAMESPACE)."""


class MakesKafka(Protocol):
    """The fixture `private_kafka`: a started cluster with these lines in its server.properties."""

    def __call__(self, nodes: int = 1, **settings: str) -> KafkaServer: ...


class MakesRedisCluster(Protocol):
    """The fixture `private_redis_cluster`: three started masters, with replicas; options as for `private_redis`."""

    def __call__(self, replicas: int = 0, *, appendonly: bool = False, **options: str) -> LocalRedisCluster: ...


class MakesRedis(Protocol):
    """The fixture `private_redis`: a started server with these lines in its redis.conf (`_` for `-`)."""

    def __call__(self, *, appendonly: bool = False, **options: str) -> RedisServer: ...


@pytest.fixture
def space() -> Space:
    # Not from `random`, which pytest-randomly sets to the same seed before each test.
    name = f"test-{secrets.token_hex(5)}"
    return Space(prefix=name, group=name, namespace=name)


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """The Kafka that the whole run shares."""
    backend = _backend(request.config)
    directory = tmp_path_factory.mktemp("kafka")
    with ExitStack() as stack:
        yield started(lambda: make_kafka(kafka_runner(backend), directory), stack)


@pytest.fixture(scope="session")
def real_kafka(request: pytest.FixtureRequest) -> KafkaServer:
    """The shared Kafka, for a test of what the embedded broker does not do rightly."""
    if _backend(request.config) == "embedded":
        pytest.skip("the embedded broker's transactions, compaction and restarts are not Kafka's")
    return cast(KafkaServer, request.getfixturevalue("kafka"))


@pytest.fixture(scope="session")
def redis_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The Redis that the whole run shares."""
    backend = _backend(request.config)
    directory = tmp_path_factory.mktemp("redis")
    with ExitStack() as stack:
        yield started(lambda: make_redis(redis_runner(backend), directory), stack)


@pytest.fixture
def private_kafka(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakesKafka]:
    """Makes clusters of the test's own, which it may treat as it likes; they end with the test."""
    backend = _backend(request.config)
    with ExitStack() as stack:

        def make(nodes: int = 1, **settings: str) -> KafkaServer:
            directory = _fresh(tmp_path, "kafka")
            properties = {name.replace("_", "."): value for name, value in settings.items()}
            return started(lambda: make_kafka(kafka_runner(backend, private=True), directory, nodes, properties), stack)

        yield make


@pytest.fixture
def private_redis(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakesRedis]:
    """Makes Redis servers of the test's own, which it may treat as it likes; they end with the test."""
    backend = _backend(request.config)
    with ExitStack() as stack:

        def make(*, appendonly: bool = False, **options: str) -> RedisServer:
            directory = _fresh(tmp_path, "redis")
            lines = {name.replace("_", "-"): value for name, value in options.items()}
            return started(
                lambda: make_redis(
                    redis_runner(backend, private=True), directory, appendonly=appendonly, options=lines
                ),
                stack,
            )

        yield make


@pytest.fixture(scope="session")
def redis_cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalRedisCluster]:
    """The Redis Cluster that the whole run shares: processes of this machine, whatever runs the other servers."""
    directory = tmp_path_factory.mktemp("redis-cluster")
    with ExitStack() as stack:
        yield started(lambda: make_redis_cluster(_backend(request.config), directory), stack)


@pytest.fixture
def private_redis_cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakesRedisCluster]:
    """Makes clusters of the test's own, which it may treat as it likes; they end with the test."""
    backend = _backend(request.config)
    with ExitStack() as stack:

        def make(replicas: int = 0, *, appendonly: bool = False, **options: str) -> LocalRedisCluster:
            directory = _fresh(tmp_path, "redis-cluster")
            lines = {name.replace("_", "-"): value for name, value in options.items()}
            return started(
                lambda: make_redis_cluster(backend, directory, replicas, appendonly=appendonly, options=lines), stack
            )

        yield make


def started(make: Callable[[], S], stack: ExitStack) -> S:
    """A server that runs until the stack is closed; where it can't be had the test is skipped, or fails in CI."""
    try:
        server = make()
        stack.callback(server.close)
        server.start()
    except ServerUnavailable as error:
        _go_without(str(error))
    return server


def _go_without(reason: str) -> NoReturn:
    """Skip on a developer's machine; in CI a test that does not run has failed."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _fresh(parent: Path, name: str) -> Path:
    directory = parent / f"{name}-{secrets.token_hex(3)}"
    directory.mkdir()
    return directory


def _backend(config: pytest.Config) -> Backend:
    return cast(Backend, config.getoption("--backend"))
