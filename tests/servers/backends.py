"""Which servers a test run uses.

`auto` prefers what is named in the environment, then Docker, then local processes, for Kafka and Redis each by
itself. The embedded servers are never a silent second choice for Kafka: with them a test of transactions
would fail, or worse, pass.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, get_args

from tests.servers import docker, external, local_kafka, local_redis
from tests.servers.embedded import EmbeddedKafka, EmbeddedRedis
from tests.servers.local_cluster import LocalRedisCluster
from tests.servers.ports import KafkaServer, RedisServer
from worker.servers.docker import KAFKA_IMAGE, REDIS_IMAGE, docker_unavailable
from worker.servers.embedded import valkey_binary
from worker.servers.errors import ServerUnavailable
from worker.servers.local_kafka import local_kafka_name, local_kafka_unavailable
from worker.servers.local_redis import local_redis_name, local_redis_unavailable, redis_binary

Backend = Literal["auto", "external", "docker", "local", "embedded"]
Runner = Literal["external", "docker", "local", "embedded"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)


@functools.cache
def kafka_runner(backend: Backend, *, private: bool = False) -> Runner:
    """What runs Kafka. Raises ServerUnavailable with every reason why nothing can."""
    return _first_available(backend, private, external.KAFKA_VARIABLE, docker_unavailable, local_kafka_unavailable)


@functools.cache
def redis_runner(backend: Backend, *, private: bool = False) -> Runner:
    """What runs Redis. Raises ServerUnavailable with every reason why nothing can."""
    return _first_available(backend, private, external.REDIS_VARIABLE, docker_unavailable, local_redis_unavailable)


def _first_available(
    backend: Backend,
    private: bool,
    variable: str,
    no_docker: Callable[[], str | None],
    not_local: Callable[[], str | None],
) -> Runner:
    if backend == "docker" or backend == "local" or backend == "embedded":  # noqa: PLR1714  mypy narrows only this
        return backend
    if not private and (backend == "external" or os.environ.get(variable)):
        return "external"
    # A server that a test may kill is never somebody else's.
    reasons = []
    choices: tuple[tuple[Runner, Callable[[], str | None]], ...] = (("docker", no_docker), ("local", not_local))
    for runner, why_not in choices:
        reason = why_not()
        if reason is None:
            return runner
        reasons.append(f"{runner}: {reason}")
    raise ServerUnavailable("; ".join([f"{variable} is not set", *reasons]))


def make_kafka(
    runner: Runner, directory: Path, nodes: int = 1, settings: Mapping[str, str] | None = None
) -> KafkaServer:
    """A cluster, not yet started. Raises ServerUnavailable."""
    if nodes > 1:
        # Three containers that find each other need a network; processes on loopback do not.
        return local_kafka.LocalKafka(directory, nodes, settings)
    match runner:
        case "external":
            return external.ExternalKafka()
        case "docker":
            return docker.DockerKafka(settings)
        case "local":
            return local_kafka.LocalKafka(directory, nodes, settings)
        case "embedded":
            return EmbeddedKafka(directory)


def make_redis(
    runner: Runner, directory: Path, *, appendonly: bool = False, options: Mapping[str, str] | None = None
) -> RedisServer:
    """A Redis, not yet started. Raises ServerUnavailable."""
    match runner:
        case "external":
            return external.ExternalRedis()
        case "docker":
            return docker.DockerRedis(appendonly=appendonly, options=options)
        case "local":
            return local_redis.LocalRedis(directory, appendonly=appendonly, options=options)
        case "embedded":
            return EmbeddedRedis(directory, appendonly=appendonly, options=options)


def make_redis_cluster(
    backend: Backend,
    directory: Path,
    replicas: int = 0,
    *,
    appendonly: bool = False,
    options: Mapping[str, str] | None = None,
) -> LocalRedisCluster:
    """Three masters, not yet started: processes, as containers that find each other need a network.

    Raises ServerUnavailable.
    """
    binary = valkey_binary() if backend == "embedded" else redis_binary()
    return LocalRedisCluster(directory, replicas=replicas, appendonly=appendonly, options=options, binary=binary)


def describe(backend: Backend) -> str:
    """What a test run is on, without starting anything."""
    return f"kafka: {_name_of_kafka(backend)}, redis: {_name_of_redis(backend)}"


def _name_of_kafka(backend: Backend) -> str:
    try:
        match kafka_runner(backend):
            case "external":
                return external.ExternalKafka().name
            case "docker":
                return f"{KAFKA_IMAGE} (Docker)"
            case "local":
                return local_kafka_name()
            case "embedded":
                return "Tansu (embedded)"
    except ServerUnavailable as error:
        return f"none ({error})"


def _name_of_redis(backend: Backend) -> str:
    try:
        match redis_runner(backend):
            case "external":
                return external.ExternalRedis().name
            case "docker":
                return f"{REDIS_IMAGE} (Docker)"
            case "local":
                return local_redis_name(redis_binary())
            case "embedded":
                return "Valkey (embedded)"
    except ServerUnavailable as error:
        return f"none ({error})"
