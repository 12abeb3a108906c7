"""Under load, with everything failing that can: what comes out is what the input asks for, nothing else, nothing less.

Workers are processes, the traffic is seeded, and each test ends with the checker, which also knows what a reader of
Redis saw meanwhile.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, cast

import pytest
from redis import Redis

from tests.consistency import check, watching
from tests.installation import PARTITIONS
from tests.processes import SESSION_MS, WorkerProcess, install
from tests.servers.plugin import MakesKafka, MakesRedis, Space
from tests.servers.ports import KafkaServer, RedisServer
from tests.servers.waiting import wait_until
from tests.stories import Traffic
from tests.traffic import operation, run, sender
from worker.settings import Settings

pytestmark = pytest.mark.slow

END_WITHIN_S: Final = 10.0
"""What is promised after SIGTERM."""
SOME: Final = 250
"""Records, about a second of traffic: before, between and after faults."""


DUMP: Final = """
local kept = {}
for _, name in ipairs(redis.call('KEYS', '*')) do
  table.insert(kept, name)
  table.insert(kept, redis.call('DUMP', name))
end
return kept
"""
GO_BACK: Final = """
redis.call('FLUSHALL')
for at = 1, #ARGV, 2 do
  redis.call('RESTORE', ARGV[at], 0, ARGV[at + 1])
end
"""
"""Scripts, so that it is all of one moment, as a replica is."""


class Stage:
    """Workers, traffic and a reader that go on together while a test does its worst."""

    def __init__(self, settings: Settings, folder: Path, stack: ExitStack) -> None:
        self.settings = settings
        self._folder = folder
        self._stack = stack
        self._watched = stack.enter_context(watching(settings, PARTITIONS))
        self.send = stack.enter_context(sender(settings, PARTITIONS))
        # pytest-randomly prints what seeds `random`, so a failure's traffic can be had again.
        self.traffic = Traffic(self.send, seed=random.randrange(2**32))

    def worker(self, name: str, instance: str | None = None) -> WorkerProcess:
        """A worker process, started."""
        overrides = {} if instance is None else {"RESTORE_PROJECTOR_KAFKA__INSTANCE": instance}
        worker = WorkerProcess(self.settings, self._folder / f"{name}.log", **overrides)
        self._stack.callback(worker.kill)
        worker.start()
        return worker

    def workers(self, *names: str) -> list[WorkerProcess]:
        """Worker processes that share the partitions evenly, each with its name as its instance; and traffic."""
        started = [self.worker(name, name) for name in names]
        for worker in started:
            worker.wait_until_owning(PARTITIONS // len(names))
        self._stack.enter_context(self.traffic)
        self.traffic.wait_for(SOME)
        return started

    def end(self, *, seen_by_readers: bool = True) -> None:
        """Let the traffic end; everything must have been done, and rightly."""
        self.traffic.end()
        summary = check(self.settings, self._watched if seen_by_readers else None)
        assert summary.changes > SOME / 4
        assert self._watched.looks > 10


SetsStage = Callable[[KafkaServer, RedisServer], Stage]


@pytest.fixture
def stage(space: Space, tmp_path: Path) -> Iterator[SetsStage]:
    with ExitStack() as stack:
        yield lambda kafka, redis: Stage(install(kafka, redis, space.prefix, PARTITIONS), tmp_path, stack)


def test_a_worker_leaves_in_order_and_another_takes_over(
    stage: SetsStage, real_kafka: KafkaServer, redis_server: RedisServer
) -> None:
    on = stage(real_kafka, redis_server)
    leaving, staying = on.worker("leaving"), on.worker("staying")
    for worker in (leaving, staying):
        worker.wait_until_owning(PARTITIONS // 2)
    with on.traffic:
        on.traffic.wait_for(SOME)
        leaving.signal(signal.SIGTERM)
        assert leaving.wait(END_WITHIN_S) == 0
        staying.wait_until_owning(PARTITIONS)
        on.traffic.wait_for(SOME)
        on.end()


def test_a_killed_worker_comes_back_under_its_name(
    stage: SetsStage, real_kafka: KafkaServer, redis_server: RedisServer
) -> None:
    on = stage(real_kafka, redis_server)
    killed, other = on.workers("killed", "other")
    for _ in range(3):
        killed.kill()
        killed.start()
        on.traffic.wait_for(SOME)
    on.end()
    assert other.alive


def test_a_worker_that_hung_until_it_was_replaced_does_no_harm(
    stage: SetsStage, real_kafka: KafkaServer, redis_server: RedisServer
) -> None:
    """Whatever transaction it had open was ended by the broker; what it still believes when it wakes up is refused."""
    on = stage(real_kafka, redis_server)
    hung, other = on.workers("hung", "other")
    hung.signal(signal.SIGSTOP)
    other.wait_until_owning(PARTITIONS, timeout_s=2 * SESSION_MS / 1000)
    on.traffic.wait_for(SOME)
    hung.signal(signal.SIGCONT)
    on.traffic.wait_for(SOME)
    on.end()


def test_redis_emptied_is_filled_again(stage: SetsStage, real_kafka: KafkaServer, private_redis: MakesRedis) -> None:
    """Flushed, and killed without having written anything down."""
    redis = private_redis()
    on = stage(real_kafka, redis)
    on.workers("one", "two")
    with Redis.from_url(redis.url) as client:
        for _ in range(2):
            client.flushall()
            on.traffic.wait_for(SOME)
    redis.kill()
    redis.start()
    on.traffic.wait_for(SOME)
    on.end()


def test_redis_killed_and_restarted_is_caught_up(
    stage: SetsStage, real_kafka: KafkaServer, private_redis: MakesRedis
) -> None:
    """It has kept what it had, and missed what was published meanwhile."""
    redis = private_redis(appendonly=True)
    on = stage(real_kafka, redis)
    (worker,) = on.workers("one")
    restored = len(worker.said("partition_restoring"))
    redis.kill()
    on.traffic.wait_for(SOME)
    redis.start()
    on.traffic.wait_for(SOME)
    on.end()
    assert not any(line["full"] for line in worker.said("partition_restoring")[restored:])


def test_redis_gone_back_in_time_is_caught_up(
    stage: SetsStage, real_kafka: KafkaServer, private_redis: MakesRedis
) -> None:
    """As after a failover to a replica that lagged: what was decided since must not be decided again.

    Its readers go back with it, whatever the worker does.
    """
    redis = private_redis()
    on = stage(real_kafka, redis)
    on.workers("one")
    with Redis.from_url(redis.url) as client:
        kept = cast(list[bytes], client.eval(DUMP, 0))
        on.traffic.wait_for(SOME)
        client.eval(GO_BACK, 0, *kept)
    on.traffic.wait_for(SOME)
    on.end(seen_by_readers=False)


@pytest.mark.usefixtures("real_kafka")  # else there is none of its kind
def test_kafka_killed_and_restarted_loses_and_doubles_nothing(
    stage: SetsStage, private_kafka: MakesKafka, redis_server: RedisServer
) -> None:
    kafka = private_kafka()
    on = stage(kafka, redis_server)
    on.workers("one", "two")
    kafka.kill()
    kafka.start()
    on.traffic.wait_for(SOME)
    on.end()


def test_a_key_lost_in_redis_is_found_missing_and_restored(
    stage: SetsStage, real_kafka: KafkaServer, private_redis: MakesRedis
) -> None:
    """It is noticed when something bears on it: here, the next event of the operation that the run names."""
    redis = private_redis()
    on = stage(real_kafka, redis)
    (worker,) = on.workers("one")
    key = f"{on.settings.redis.namespace}:{{{on.send.partition('t-lost')}}}:run:t-lost/rr-1"
    on.send.steps(operation("t-lost", "op-1", 1), run("t-lost", "rr-1", 1, "completed", "op-1"))
    with Redis.from_url(redis.url) as client:
        wait_until(lambda: client.delete(key), 10, "the document is there")
    on.send.events(operation("t-lost", "op-1", 2))
    on.traffic.wait_for(SOME)
    on.end()
    assert [line["error"] for line in worker.said("recovering")] == ["StoreDamaged"]
    assert any(line["full"] for line in worker.said("partition_restoring"))
