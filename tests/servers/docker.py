"""Servers in containers, where a Docker engine answers.

The host's port is chosen here and not by Docker, so that a container that was killed comes back at the same address,
as the clients of a server that restarts expect.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, cast

from testcontainers.core.container import DockerContainer

from tests.servers.kafka_answers import kafka_answers
from tests.servers.local_kafka import KAFKA_VERSION, kafka_test_settings
from tests.servers.local_redis import redis_answers
from tests.servers.ports import ServerUnavailable
from tests.servers.waiting import wait_until
from worker.embedded import LOOPBACK, free_port

KAFKA_IMAGE = f"apache/kafka:{KAFKA_VERSION}"
REDIS_IMAGE = "redis:7.2"
START_TIMEOUT_S = 120.0
"""A container of Kafka takes five seconds, on a busy machine many times that; pulling its image is not counted."""
STOP_TIMEOUT_S = 30


class _Container:
    """What servers in containers have in common: being started again, killed and paused."""

    def __init__(self, container: DockerContainer) -> None:
        self._container = container
        self._created = False

    def launch(self) -> None:
        if self._created:
            self._engine_container.start()
        else:
            self._container.start()
            self._created = True

    def stop(self) -> None:
        self._engine_container.stop(timeout=STOP_TIMEOUT_S)

    def kill(self) -> None:
        self._engine_container.kill()

    def pause(self) -> None:
        self._engine_container.pause()

    def resume(self) -> None:
        self._engine_container.unpause()

    def close(self) -> None:
        if self._created:
            self._container.stop(force=True, delete_volume=True)

    def runs(self) -> bool:
        """Whether it runs; fails with the end of its log when it has ended."""
        self._engine_container.reload()
        status = self._engine_container.status
        assert status != "exited", f"the container ended:\n{self.last_words()}"
        return bool(status == "running")

    def last_words(self, lines: int = 30) -> str:
        return str(self._engine_container.logs(tail=lines).decode(errors="replace"))

    @property
    def _engine_container(self) -> Any:
        return self._container.get_wrapped_container()


class DockerKafka(_Container):
    """Apache Kafka's own image, one node."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        _need_docker()
        self.name = f"Apache Kafka {KAFKA_VERSION} (Docker)"
        port = free_port()
        self.bootstrap_servers = f"{LOOPBACK}:{port}"
        container = DockerContainer(KAFKA_IMAGE)
        _publish(container, f"{port}/tcp", port)
        for name, value in {**_kafka_settings(port), **(settings or {})}.items():
            container.with_env("KAFKA_" + name.replace(".", "_").upper(), str(value))
        super().__init__(container)

    def start(self) -> None:
        self.launch()
        wait_until(
            lambda: self.runs() and kafka_answers(self.bootstrap_servers),
            START_TIMEOUT_S,
            lambda: f"{self.name} answers\n{self.last_words()}",
        )

    def restart(self) -> None:
        self.stop()
        self.start()


class DockerRedis(_Container):
    """The official image of Redis."""

    def __init__(self, *, appendonly: bool = False, options: Mapping[str, str] | None = None) -> None:
        _need_docker()
        self.name = f"{REDIS_IMAGE} (Docker)"
        port = free_port()
        self.url = f"redis://{LOOPBACK}:{port}/0"
        container = DockerContainer(REDIS_IMAGE)
        _publish(container, "6379/tcp", port)
        settings = {"save": "", "appendonly": "yes" if appendonly else "no", "appendfsync": "always"}
        # Its address is not loopback from inside, and published on loopback only.
        settings |= {"protected-mode": "no", **(options or {})}
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        container.with_command(["redis-server", *words])
        super().__init__(container)

    def start(self) -> None:
        self.launch()
        wait_until(
            lambda: self.runs() and redis_answers(self.url),
            START_TIMEOUT_S,
            lambda: f"{self.name} answers\n{self.last_words()}",
        )

    def restart(self) -> None:
        self.stop()
        self.start()


def _kafka_settings(port: int) -> dict[str, str | int]:
    controller_port = 9093
    return {
        "node.id": 1,
        "process.roles": "broker,controller",
        "controller.quorum.voters": f"1@localhost:{controller_port}",
        "listeners": f"PLAINTEXT://:{port},CONTROLLER://:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        **kafka_test_settings(replicas=1),
    }


def _publish(container: DockerContainer, inner: str, port: int) -> None:
    # On loopback only, which the engine's interface can do and the wrapper's type does not say.
    cast(dict[str, Any], container.ports)[inner] = (LOOPBACK, port)


def _need_docker() -> None:
    why_not = docker_unavailable()
    if why_not:
        raise ServerUnavailable(why_not)


@functools.cache
def docker_unavailable() -> str | None:
    """Why containers can't be had, or None if they can."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=5)
    except DockerException:
        return "no Docker engine answers"
    try:
        client.ping()
    except DockerException:
        return "no Docker engine answers"
    finally:
        client.close()
    return None
