"""`KafkaLog` on a real Kafka: what the loop relies on, and each work-around of a bug of kafka-python."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Final

import pytest

from contracts.events import Record
from tests.installation import PARTITIONS
from tests.servers.waiting import wait_until
from tests.traffic import Sender, run, sender
from worker.kafka import KafkaLog
from worker.ports import Membership
from worker.settings import Settings

JOIN_WITHIN_S: Final = 15.0
READ_WITHIN_S: Final = 15.0
POLL_MS: Final = 500
"""As the loop polls while the group is not stable."""

MakesLog = Callable[..., KafkaLog]


@pytest.fixture
def make_log(settings: Settings) -> Iterator[MakesLog]:
    """Makes logs of the installation, each of another transactional id unless told; `kafka` overrides its settings."""
    with ExitStack() as stack:
        made = 0

        def make(transactional_id: str | None = None, **kafka: object) -> KafkaLog:
            nonlocal made
            made += 1
            own = settings.kafka.model_copy(update=kafka)
            log = KafkaLog(own, settings.topic_names, transactional_id or f"{settings.kafka.group_id}-{made}")
            stack.callback(log.close)
            return log

        yield make


@pytest.fixture
def send(settings: Settings) -> Iterator[Sender]:
    with sender(settings, PARTITIONS) as sending:
        yield sending


def joined(log: KafkaLog, partitions: int = PARTITIONS) -> Membership:
    """Poll until the log is a stable member with so many partitions."""

    def stable() -> Membership | None:
        log.poll(POLL_MS)
        membership = log.membership()
        return membership if membership is not None and len(membership.partitions) == partitions else None

    membership = wait_until(stable, JOIN_WITHIN_S, lambda: f"{partitions} partitions, not {log.membership()}")
    assert membership is not None
    return membership


def take_over(log: KafkaLog, partitions: int = PARTITIONS) -> Membership:
    """Join, and go on from the committed offsets."""
    membership = joined(log, partitions)
    log.new_producer()
    log.resume_at({place: c.offset for place, c in log.committed(membership.partitions).items()})
    return membership


def read(log: KafkaLog, count: int) -> list[Record]:
    """Poll until so many records have come."""
    records: list[Record] = []

    def enough() -> bool:
        records.extend(log.poll(POLL_MS))
        return len(records) >= count

    wait_until(enough, READ_WITHIN_S, lambda: f"{count} records, not {records}")
    return records


def test_ends_are_told_at_once_while_a_fetch_waits_for_records(
    make_log: MakesLog, send: Sender, settings: Settings
) -> None:
    """On one connection the answer would wait behind the fetch, and every batch with it."""
    log = make_log(fetch_max_wait_ms=5_000)
    take_over(log)
    send.events(run("t-1", "rr-1", 1))
    read(log, 1)
    log.poll(0)  # the next fetch is on its way

    began = time.monotonic()
    ends = log.input_ends([(settings.topic_names.restore_runs, send.partition("t-1"))], committed=True)

    assert list(ends.values()) == [1]
    assert time.monotonic() - began < 2
