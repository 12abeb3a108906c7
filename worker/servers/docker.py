"""Servers in containers, where a Docker engine answers; needs the extra `docker`.

The host's port is chosen here and not by Docker, so that a container that was killed comes back at the same address,
as the clients of a server that restarts expect. Containers are removed when they are closed; when this process is
killed, testcontainers' Ryuk removes them some ten seconds later.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from worker.servers.answers import kafka_answers, redis_answers
from worker.servers.errors import ServerFailed, ServerUnavailable
from worker.servers.local_kafka import KAFKA_VERSION, small_kafka_settings
from worker.servers.processes import LOOPBACK, free_port, wait_until

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

KAFKA_IMAGE: Final = f"apache/kafka:{KAFKA_VERSION}"
REDIS_IMAGE: Final = "redis:7.2"
START_TIMEOUT_S: Final = 120.0
"""A container of Kafka takes five seconds, on a busy machine many times that; pulling its image is not counted."""
PULL_TIMEOUT_S: Final = 900.0
_ENGINE_TIMEOUT_S: Final = 5
_CONTROLLER_PORT: Final = 9093


class Container:
    """A server in a container that can be started again. `answers`: whether it serves."""

    def __init__(self, name: str, container: DockerContainer, answers: Callable[[], bool]) -> None:
        self.name = name
        self._container = container
        self._answers = answers
        self._created = False

    def start(self, stop: threading.Event | None = None) -> None:
        """Raises ServerFailed, StartInterrupted."""
        if self._created:
            self.engine_container.start()
        else:
            # Also when the engine refuses to start what it has made: that is to be removed too.
            self._created = True
            self._container.start()
        wait_until(
            lambda: self._runs() and self._answers(),
            START_TIMEOUT_S,
            lambda: f"{self.name} does not answer: {self.last_words()}",
            stop,
        )

    def close(self) -> None:
        """Remove it with its data."""
        if self._created:
            self._container.stop(force=True, delete_volume=True)

    def last_words(self, lines: int = 30) -> str:
        """The end of its log, for an error message."""
        return str(self.engine_container.logs(tail=lines).decode(errors="replace"))

    @property
    def engine_container(self) -> Any:
        return self._container.get_wrapped_container()

    def _runs(self) -> bool:
        self.engine_container.reload()
        status = self.engine_container.status
        if status == "exited":
            raise ServerFailed(f"the container of {self.name} ended: {self.last_words()}")
        return bool(status == "running")


@contextmanager
def docker_kafka(stop: threading.Event | None = None) -> Iterator[str]:
    """Yields its bootstrap servers. Raises ServerUnavailable, ServerFailed, StartInterrupted."""
    port = free_port()
    address = f"{LOOPBACK}:{port}"
    with _started(Container(KAFKA_IMAGE, kafka_container(port, {}), lambda: kafka_answers(address)), stop):
        yield address


@contextmanager
def docker_redis(stop: threading.Event | None = None) -> Iterator[str]:
    """Yields its URL. Raises ServerUnavailable, ServerFailed, StartInterrupted."""
    port = free_port()
    url = f"redis://{LOOPBACK}:{port}/0"
    with _started(Container(REDIS_IMAGE, redis_container(port, {}), lambda: redis_answers(url)), stop):
        yield url


@contextmanager
def _started(container: Container, stop: threading.Event | None) -> Iterator[None]:
    from docker.errors import DockerException

    with ExitStack() as stack:
        stack.callback(container.close)
        try:
            container.start(stop)
        except (DockerException, RuntimeError, OSError) as error:  # The last two: Ryuk did not come up.
            raise ServerFailed(f"the Docker engine does not run {container.name}: {error}") from error
        yield


def kafka_container(port: int, settings: Mapping[str, str | int]) -> DockerContainer:
    """Apache Kafka's own image, one node, not yet started. `settings` are lines of server.properties."""
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(KAFKA_IMAGE)
    _publish(container, f"{port}/tcp", port)
    for name, value in {**_kafka_settings(port), **settings}.items():
        container.with_env("KAFKA_" + name.replace(".", "_").upper(), str(value))
    return container


def redis_container(port: int, options: Mapping[str, str]) -> DockerContainer:
    """The official image of Redis, without persistence, not yet started. `options` are settings of redis.conf."""
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(REDIS_IMAGE)
    _publish(container, "6379/tcp", port)
    # Its address is not loopback from inside, and published on loopback only.
    settings = {"save": "", "appendonly": "no", "protected-mode": "no", **options}
    container.with_command(
        ["redis-server", *(word for name, value in settings.items() for word in (f"--{name}", value))]
    )
    return container


def _kafka_settings(port: int) -> dict[str, str | int]:
    return {
        "node.id": 1,
        "process.roles": "broker,controller",
        "controller.quorum.voters": f"1@localhost:{_CONTROLLER_PORT}",
        "listeners": f"PLAINTEXT://:{port},CONTROLLER://:{_CONTROLLER_PORT}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        **small_kafka_settings(replicas=1),
    }


def _publish(container: DockerContainer, inner: str, port: int) -> None:
    # On loopback only, which the engine's interface can do and the wrapper's type does not say.
    cast(dict[str, Any], container.ports)[inner] = (LOOPBACK, port)


def images_missing() -> list[str]:
    """What the engine does not have yet of the servers' images and Ryuk's. Raises ServerUnavailable."""
    import docker
    from docker.errors import DockerException, ImageNotFound
    from testcontainers.core.config import testcontainers_config

    ryuk = [] if testcontainers_config.ryuk_disabled else [testcontainers_config.ryuk_image]
    missing = []
    try:
        client = docker.from_env(timeout=_ENGINE_TIMEOUT_S)
        try:
            for image in (KAFKA_IMAGE, REDIS_IMAGE, *ryuk):
                try:
                    client.images.get(image)
                except ImageNotFound:
                    missing.append(image)
        finally:
            client.close()
    except (DockerException, OSError) as error:
        raise ServerUnavailable(f"the Docker engine does not list images: {error}") from error
    return missing


def pull(image: str, stop: threading.Event | None = None) -> None:
    """Have the engine fetch an image. Raises ServerUnavailable, StartInterrupted.

    In a thread, as the engine's answer cannot be interrupted; what it fetches after that is the engine's to keep.
    """
    failures: list[Exception] = []
    thread = threading.Thread(target=_pull, args=(image, failures), name="pull", daemon=True)
    thread.start()
    wait_until(lambda: not thread.is_alive(), PULL_TIMEOUT_S, lambda: f"{image} has not come", stop)
    if failures:
        raise ServerUnavailable(f"the Docker engine could not fetch {image}\n{failures[0]}") from failures[0]


def _pull(image: str, failures: list[Exception]) -> None:
    import docker

    try:
        client = docker.from_env(timeout=PULL_TIMEOUT_S)
        try:
            client.images.pull(image)
        finally:
            client.close()
    except Exception as error:  # noqa: BLE001  told by the thread that waits for us
        failures.append(error)


@functools.cache
def docker_unavailable() -> str | None:
    """Why containers can't be had, or None if they can."""
    try:
        import docker
        import testcontainers.core.container  # noqa: F401
        from docker.errors import DockerException
    except ImportError:
        return "testcontainers is not installed: pip install 'restore-projector[docker]'"

    try:
        client = docker.from_env(timeout=_ENGINE_TIMEOUT_S)
    except (DockerException, OSError):
        return "no Docker engine answers"
    try:
        client.ping()
    except (DockerException, OSError):
        return "no Docker engine answers"
    finally:
        client.close()
    return None
