"""One Kafka and one Redis behind all their doors for the tests of security; one word opens each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

import pytest

from tests.processes import environment
from tests.security.doors import Doors, LockedRedis, start_kafka, start_redis
from tests.worker.cli.conftest import Command, command
from worker.settings import Settings

__all__ = ["command"]

PASSWORD: Final = "open-5esame"


@pytest.fixture(scope="package")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    with start_kafka(tmp_path_factory.mktemp("locked-kafka"), PASSWORD) as doors:
        yield doors


@pytest.fixture(scope="package")
def locked_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LockedRedis]:
    with start_redis(tmp_path_factory.mktemp("locked-redis"), PASSWORD) as redis:
        yield redis


class Given(Protocol):
    """The fixture `given`: commands take these settings from their environment."""

    def __call__(self, settings: Settings) -> None: ...


@pytest.fixture
def given(command: Command, monkeypatch: pytest.MonkeyPatch) -> Given:  # noqa: ARG001  it clears the environment
    def give(settings: Settings) -> None:
        for variable, value in environment(settings).items():
            monkeypatch.setenv(variable, value)

    return give
