"""Servers that somebody else runs, named in the environment. A test may use them, not treat them roughly."""

from __future__ import annotations

import os
from typing import NoReturn
from urllib.parse import urlsplit

from tests.servers.waiting import wait_until
from worker.servers.answers import kafka_answers, redis_answers
from worker.servers.errors import ServerUnavailable

KAFKA_VARIABLE = "RESTORE_PROJECTOR_TEST_KAFKA"
REDIS_VARIABLE = "RESTORE_PROJECTOR_TEST_REDIS"
ANSWER_TIMEOUT_S = 30.0


class _Untouchable:
    """The part of a server's interface that an external one refuses."""

    def stop(self) -> NoReturn:
        raise AssertionError("a test that ends a server asks for a private one")

    kill = restart = pause = resume = stop

    def close(self) -> None:
        """Not ours to end."""


class ExternalKafka(_Untouchable):
    def __init__(self) -> None:
        self.bootstrap_servers = _named(KAFKA_VARIABLE)
        self.name = f"Kafka at {self.bootstrap_servers} (external)"

    def start(self) -> None:
        wait_until(lambda: kafka_answers(self.bootstrap_servers), ANSWER_TIMEOUT_S, f"{self.name} answers")


class ExternalRedis(_Untouchable):
    def __init__(self) -> None:
        self.url = _named(REDIS_VARIABLE)
        # Without the user and the password that the URL may hold.
        address = urlsplit(self.url)
        self.name = f"Redis at {address.hostname}:{address.port or 6379} (external)"

    def start(self) -> None:
        wait_until(lambda: redis_answers(self.url), ANSWER_TIMEOUT_S, f"{self.name} answers")


def _named(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise ServerUnavailable(f"{variable} is not set")
    return value
