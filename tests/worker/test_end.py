"""Told to stop, a worker finishes what it has in hand, leaves its group and ends with 0, whatever is busy or away."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

import pytest
from kafka import KafkaAdminClient

from tests.consistency import check
from tests.installation import PARTITIONS
from tests.processes import WorkerProcess, install, running
from tests.servers.plugin import MakesKafka, MakesRedis, Space
from tests.servers.ports import KafkaServer, RedisServer
from tests.servers.waiting import wait_until
from tests.stories import Traffic
from tests.traffic import sender
from worker.settings import Settings

pytestmark = pytest.mark.slow

END_WITHIN_S: Final = 10.0
"""What is promised after SIGTERM."""

Starts = Callable[[Settings], WorkerProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starts]:
    """Starts a worker process and waits until it owns all partitions."""
    with ExitStack() as stack:

        def starting(settings: Settings) -> WorkerProcess:
            worker = WorkerProcess(settings, tmp_path / "worker.log")
            stack.callback(worker.kill)
            worker.start()
            worker.wait_until_owning(PARTITIONS)
            return worker

        yield starting


def test_under_load_it_ends_and_leaves_nothing_half_done(settings: Settings, start: Starts) -> None:
    worker = start(settings)
    with sender(settings, PARTITIONS) as send, Traffic(send, seed=random.randrange(2**32)) as traffic:
        traffic.wait_for(300)
        worker.signal(signal.SIGTERM)
        assert worker.wait(END_WITHIN_S) == 0
        assert _members(settings) == 0
        traffic.wait_for(100)
    with running(settings):
        check(settings)


def test_one_with_a_name_leaves_its_partitions_to_others_at_once(settings: Settings, tmp_path: Path) -> None:
    """As a static member it would otherwise keep them for its session, which here is longer than the test."""
    session = {"RESTORE_PROJECTOR_KAFKA__SESSION_TIMEOUT_MS": "120000"}
    with ExitStack() as stack:
        leaving, staying = (
            WorkerProcess(settings, tmp_path / f"{name}.log", RESTORE_PROJECTOR_KAFKA__INSTANCE=name, **session)
            for name in ("leaving", "staying")
        )
        for worker in (leaving, staying):
            stack.callback(worker.kill)
            worker.start()
        for worker in (leaving, staying):
            worker.wait_until_owning(PARTITIONS // 2)
        leaving.signal(signal.SIGTERM)
        assert leaving.wait(END_WITHIN_S) == 0
        staying.wait_until_owning(PARTITIONS)


def test_one_with_a_name_that_is_alone_stays_a_member(settings: Settings, tmp_path: Path) -> None:
    """It comes back faster to a group that is not empty."""
    worker = WorkerProcess(settings, tmp_path / "worker.log", RESTORE_PROJECTOR_KAFKA__INSTANCE="alone")
    try:
        worker.start()
        worker.wait_until_owning(PARTITIONS)
        worker.signal(signal.SIGTERM)
        assert worker.wait(END_WITHIN_S) == 0
        assert _members(settings) == 1
    finally:
        worker.kill()


@pytest.mark.usefixtures("real_kafka")  # else there is none of its kind
def test_it_ends_while_kafka_hangs(
    private_kafka: MakesKafka, redis_server: RedisServer, space: Space, start: Starts
) -> None:
    kafka = private_kafka()
    worker = start(install(kafka, redis_server, space.prefix, PARTITIONS))
    kafka.pause()
    worker.signal(signal.SIGTERM)
    assert worker.wait(END_WITHIN_S) == 0


def test_it_ends_while_redis_hangs(
    real_kafka: KafkaServer, private_redis: MakesRedis, space: Space, start: Starts
) -> None:
    redis = private_redis()
    settings = install(real_kafka, redis, space.prefix, PARTITIONS)
    worker = start(settings)
    with sender(settings, PARTITIONS) as send, Traffic(send, seed=random.randrange(2**32)) as traffic:
        redis.pause()
        wait_until(lambda: worker.said("server_unreachable"), 30, lambda: f"it is said\n{worker.last_words()}")
        worker.signal(signal.SIGTERM)
        assert worker.wait(END_WITHIN_S) == 0
        traffic.end()
    redis.resume()
    with running(settings):
        check(settings)


def _members(settings: Settings) -> int:
    with closing(KafkaAdminClient(**settings.kafka.client_options())) as admin:
        described = admin.describe_groups([settings.kafka.group_id])
    return len(described[settings.kafka.group_id]["members"])
