"""Puts the worker together from settings, and runs it until it is told to stop."""

from __future__ import annotations

import gc
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from projections.inputs import InputDecoder
from worker.errors import Unfit, Unreachable
from worker.fitness import check_redis, nodes_of
from worker.health import Health
from worker.kafka import KafkaLog
from worker.logs import Events
from worker.loop import Limits, Worker
from worker.metrics import Metrics
from worker.redis import RedisStore
from worker.reporter import Reporter
from worker.rights import check_worker_rights
from worker.settings import Settings
from worker.topics import (
    DAY_MS,
    LETTER_ROOM_BYTES,
    TopicState,
    judge_topics,
    largest_input_bytes,
    read_topics,
    smallest_output_batch_bytes,
)

Result = TypeVar("Result")

CONNECT_BACKOFF_S: Final = (0.2, 5.0)
"""Shortest and longest wait between attempts to reach a server at start."""


GC_THRESHOLD: Final = (100_000, 20, 50)
"""For Python's cyclic garbage collector: its default of 700 objects makes it run hundreds of times in a batch."""


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


def transactional_id(settings: Settings) -> str:
    """`<group>-<instance>`; without an instance a random one, which fences nobody."""
    return f"{settings.kafka.group_id}-{settings.kafka.instance or secrets.token_hex(8)}"


def run_worker(settings: Settings, *, stop: threading.Event, metrics: Metrics, health: Health, events: Events) -> None:
    """Run until `stop` is set: the turn in hand is finished, the group is left.

    Raises Refused if a right is missing, Unfit if topics or Redis do not hold what the promises need, Fenced,
    Unstable; a server that cannot be reached is waited for.
    """
    topics = settings.topic_names
    name = transactional_id(settings)
    seen = _patiently(lambda: _check(settings, name, events), stop, events, health)
    if seen is None:
        return
    partitions = seen[topics.restore_runs].partitions
    letter_bytes = largest_input_bytes(topics, seen) + LETTER_ROOM_BYTES
    batch_bytes = smallest_output_batch_bytes(topics, seen)
    log = _patiently(
        lambda: KafkaLog(settings.kafka, topics, name, letter_bytes=letter_bytes, batch_bytes=batch_bytes),
        stop,
        events,
        health,
    )
    if log is None:
        return
    try:
        store = RedisStore(nodes_of(settings.redis), settings.redis.namespace, settings.redis.address)
        inputs = InputDecoder(topics, partitions, settings.kafka.partitioner, settings.limits.value_bytes)
        clock = SystemClock()
        observer = Reporter(topics, metrics, health, events, clock)
        worker = Worker(log, store, clock, inputs, topics, observer, _limits(settings))
        _calm_garbage_collector()
        while not stop.is_set():
            worker.turn()
    finally:
        log.close()


def _calm_garbage_collector() -> None:
    """Look for cyclic garbage seldom: a batch keeps many objects for a moment, and none of them is in a cycle."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)


def _check(settings: Settings, transactional_id: str, events: Events) -> Mapping[str, TopicState]:
    """The topics as they are; says what else is not as it should be. Raises Refused, Unfit, Unreachable."""
    rights = check_worker_rights(settings, transactional_id)
    seen = read_topics(settings)
    findings = [*rights, *judge_topics(settings.topic_names, seen), *check_redis(settings.redis)]
    for found in findings:
        events.finding(
            severity=found.severity,
            subject=found.subject,
            setting=found.setting,
            expected=found.expected,
            got=found.got,
        )
    errors = [str(finding) for finding in findings if finding.severity == "error"]
    if errors:
        raise Unfit(errors)
    return seen


def _limits(settings: Settings) -> Limits:
    limits = settings.limits
    return Limits(
        limits.batch_records,
        limits.merge_wait_ms / 1000,
        limits.unstable_exit_ms / 1000,
        limits.deletion_memory_days * DAY_MS,
    )


def _patiently(attempt: Callable[[], Result], stop: threading.Event, events: Events, health: Health) -> Result | None:
    """Try until the servers answer, or until told to stop (None)."""
    delay = CONNECT_BACKOFF_S[0]
    while not stop.is_set():
        health.turned()
        try:
            result = attempt()
        except Unreachable as error:
            events.server_unreachable(error.server, address=error.address, error=error)
            health.ready(False, f"{error.server} cannot be reached")
            stop.wait(delay)
            delay = min(delay * 2, CONNECT_BACKOFF_S[1])
        else:
            return result
    return None
