"""Servers in containers (`worker.servers.docker`) that a test may treat as it likes."""

from __future__ import annotations

from collections.abc import Mapping

from tests.servers.local_kafka import TEST_SETTINGS
from worker.servers.answers import kafka_answers, redis_answers
from worker.servers.docker import (
    KAFKA_IMAGE,
    REDIS_IMAGE,
    Container,
    docker_unavailable,
    kafka_container,
    redis_container,
)
from worker.servers.errors import ServerUnavailable
from worker.servers.processes import LOOPBACK, free_port

STOP_TIMEOUT_S = 30


class _RoughlyTreated(Container):
    """A container, and what may happen to it."""

    def stop(self) -> None:
        self.engine_container.stop(timeout=STOP_TIMEOUT_S)

    def kill(self) -> None:
        self.engine_container.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        self.engine_container.pause()

    def resume(self) -> None:
        self.engine_container.unpause()


class DockerKafka(_RoughlyTreated):
    """Apache Kafka's own image, one node."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        _need_docker()
        port = free_port()
        address = self.bootstrap_servers = f"{LOOPBACK}:{port}"
        container = kafka_container(port, {**TEST_SETTINGS, **(settings or {})})
        super().__init__(f"{KAFKA_IMAGE} (Docker)", container, lambda: kafka_answers(address))


class DockerRedis(_RoughlyTreated):
    """The official image of Redis."""

    def __init__(self, *, appendonly: bool = False, options: Mapping[str, str] | None = None) -> None:
        _need_docker()
        port = free_port()
        url = self.url = f"redis://{LOOPBACK}:{port}/0"
        appending = {"appendonly": "yes", "appendfsync": "always"} if appendonly else {}
        container = redis_container(port, {**appending, **(options or {})})
        super().__init__(f"{REDIS_IMAGE} (Docker)", container, lambda: redis_answers(url))


def _need_docker() -> None:
    why_not = docker_unavailable()
    if why_not:
        raise ServerUnavailable(why_not)
