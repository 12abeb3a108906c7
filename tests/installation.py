"""An installation on real servers with a worker that runs, and what a test needs to talk to it and to look at it.

`settings` and `live` are the test's own; `shared` is one that a module's tests share, each with a `tenant` of its own.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from redis import Redis

from contracts.decision import decode
from contracts.events import Record
from tests.consistency import check
from tests.consistency.observation import consumer, read_log
from tests.processes import ThreadWorker, install, running
from tests.servers.plugin import Space
from tests.servers.ports import KafkaServer, RedisServer
from tests.servers.waiting import wait_until
from tests.traffic import Sender, sender
from worker.settings import Settings

PARTITIONS = 4
SEEN_WITHIN_S = 10.0
"""A document follows its event within milliseconds; this is for a machine that is very busy."""


_tenants = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Live:
    """A worker that runs, and what a test needs to talk to it and to see what comes of it."""

    settings: Settings
    worker: ThreadWorker
    send: Sender
    redis: Redis

    def redis_key(self, tenant: str, rest: str) -> str:
        """A key in the slot of a tenant's partition."""
        return f"{self.settings.redis.namespace}:{{{self.send.partition(tenant)}}}:{rest}"

    def document(self, tenant: str, run: str) -> dict[str, Any] | None:
        """The state document in Redis."""
        value = self.redis.get(self.redis_key(tenant, f"run:{tenant}/{run}"))
        assert value is None or isinstance(value, bytes)
        return None if value is None else decode(value)

    def wait_for(self, tenant: str, run: str, what: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The run's document once it is as it should be."""

        def found() -> dict[str, Any] | None:
            document = self.document(tenant, run)
            return document if document is not None and what(document) else None

        document = wait_until(found, SEEN_WITHIN_S, lambda: f"{tenant}/{run} as expected: {self.document(tenant, run)}")
        assert document is not None
        return document

    def wait_for_state(self, tenant: str, run: str, state: str) -> dict[str, Any]:
        return self.wait_for(tenant, run, lambda document: document["state"] == state)

    def wait_until_gone(self, tenant: str, run: str) -> None:
        wait_until(lambda: self.document(tenant, run) is None, SEEN_WITHIN_S, f"{tenant}/{run} is gone")

    def read(self, topic: str) -> list[Record]:
        """All records of one topic."""
        with consumer(self.settings) as reader:
            return [record for records in read_log(reader, self.settings, [topic]).values() for record in records]

    def changes(self, tenant: str, run: str) -> list[Record]:
        """The run's state changes."""
        return self._published(self.send.topics.decision_changes, tenant, run)

    def documents(self, tenant: str, run: str) -> list[Record]:
        """The run's state documents in Kafka."""
        return self._published(self.send.topics.decision_state, tenant, run)

    def _published(self, topic: str, tenant: str, run: str) -> list[Record]:
        return [record for record in self.read(topic) if record.key == f"{tenant}/{run}".encode()]


@pytest.fixture
def settings(real_kafka: KafkaServer, redis_server: RedisServer, space: Space) -> Settings:
    return install(real_kafka, redis_server, space.prefix, PARTITIONS)


@pytest.fixture
def live(settings: Settings) -> Iterator[Live]:
    with live_worker(settings) as live:
        yield live


@pytest.fixture(scope="module")
def shared(real_kafka: KafkaServer, redis_server: RedisServer) -> Iterator[Live]:
    """When all of the module's tests are done, everything is checked."""
    with a_live_installation(real_kafka, redis_server) as live:
        yield live
        check(live.settings)


@pytest.fixture
def tenant() -> str:
    return f"t-{next(_tenants)}"


@contextmanager
def a_live_installation(kafka: KafkaServer, redis: RedisServer) -> Iterator[Live]:
    """Topics and names of its own, and a worker."""
    with live_worker(install(kafka, redis, f"test-{secrets.token_hex(5)}", PARTITIONS)) as live:
        yield live


@contextmanager
def live_worker(settings: Settings) -> Iterator[Live]:
    """A worker in a thread, which owns its partitions already."""
    url = settings.redis.url.get_secret_value()
    with running(settings) as worker, sender(settings, PARTITIONS) as send, Redis.from_url(url) as redis:
        yield Live(settings, worker, send, redis)
