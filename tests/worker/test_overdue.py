"""Restores of which something has been awaited for too long, found in a real Redis as the worker fills it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis.connection import AbstractConnection

from contracts.decision import State
from projections.record import Key
from projections.rules import UNFINISHED
from tests.servers.plugin import Space
from tests.servers.ports import RedisServer
from worker.nodes import Nodes
from worker.overdue import OverdueRun, count, oldest
from worker.ports import Position, StoredRun
from worker.redis import RedisStore
from worker.settings import OverdueSettings

MINUTE_MS = 60_000
NOW = 1_793_527_200_000
LIMITS = OverdueSettings(in_progress_minutes=10, completed_proof_incomplete_minutes=60)
NONE = dict.fromkeys(UNFINISHED, 0)


class Stored:
    """A store of three partitions of which nothing is known yet, and what is overdue in it."""

    def __init__(self, nodes: Nodes, namespace: str) -> None:
        self.nodes, self.namespace = nodes, namespace
        self.store = RedisStore(nodes, namespace, "redis")
        self.positions: dict[int, Position] = {}

    def begin(self, partition: int) -> None:
        self.positions[partition] = Position("g1", 0, 0)
        self.store.wipe(partition, None, self.positions[partition], "life-1", applied_at=1)

    def put(self, partition: int, *runs: StoredRun, restoring: bool = False) -> None:
        if partition not in self.positions:
            self.begin(partition)
        before = self.positions[partition]
        after = self.positions[partition] = Position("g1", before.state + 1, 0)
        self.store.apply(partition, before, after, runs, restoring=restoring, applied_at=2)

    def count(self, settings: OverdueSettings = LIMITS, partitions: tuple[int, ...] = (0, 1, 2)) -> dict[State, int]:
        return count(self.nodes, self.namespace, partitions, settings, NOW)

    def oldest(self, limit: int = 100, settings: OverdueSettings = LIMITS) -> list[OverdueRun]:
        return oldest(self.nodes, self.namespace, (0, 1, 2), settings, NOW, limit)


@pytest.fixture
def stored(redis_server: RedisServer, space: Space) -> Iterator[Stored]:
    with Nodes(redis_server.url, 2_000) as nodes:
        yield Stored(nodes, space.namespace)


def a_run(
    minutes: float, id: str = "rr-1", *, tenant: str = "t-1", state: State = "in_progress", unfinished: bool = True
) -> StoredRun:
    """A run that has been in its state for so many minutes."""
    return StoredRun(Key("run", tenant, id), b"{}", state, NOW - round(minutes * MINUTE_MS), unfinished)


def test_where_nothing_was_stored_yet_nothing_is_overdue(stored: Stored) -> None:
    assert stored.count() == NONE
    assert stored.oldest() == []
    assert stored.count(partitions=()) == NONE


def test_a_run_is_overdue_once_it_has_been_in_its_state_for_longer_than_it_may(stored: Stored) -> None:
    stored.put(0, a_run(10))
    assert stored.count() == NONE
    stored.put(0, a_run(10 + 1 / MINUTE_MS))
    assert stored.count() == NONE | {"in_progress": 1}
    assert stored.oldest() == [OverdueRun("t-1", "rr-1", "in_progress", NOW - 10 * MINUTE_MS - 1)]


def test_each_state_has_a_time_of_its_own(stored: Stored) -> None:
    proofless: State = "completed_proof_incomplete"
    stored.put(0, a_run(59, "rr-1"), a_run(59, "rr-2", state=proofless), a_run(61, "rr-3", state=proofless))
    assert stored.count() == NONE | {"in_progress": 1, proofless: 1}
    assert [found.run for found in stored.oldest()] == ["rr-3", "rr-1"]


def test_a_state_without_a_time_is_never_overdue(stored: Stored) -> None:
    stored.put(0, a_run(10_000_000, state="not_executed"))
    assert stored.count() == NONE
    assert stored.oldest() == []
    bounded = OverdueSettings(not_executed_minutes=1)
    assert stored.count(bounded) == NONE | {"not_executed": 1}
    assert [found.state for found in stored.oldest(settings=bounded)] == ["not_executed"]


def test_what_came_to_its_end_is_not_overdue(stored: Stored) -> None:
    bounded = OverdueSettings(not_executed_minutes=1, in_progress_minutes=1)
    stored.put(0, a_run(90, "rr-1"), a_run(90, "a-dry-run", state="not_executed", unfinished=False), a_run(90, "rr-2"))
    stored.put(0, a_run(80, "rr-1", state="failed", unfinished=False), StoredRun(Key("run", "t-1", "rr-2"), None))
    assert stored.count(bounded) == NONE
    assert stored.oldest(settings=bounded) == []


def test_they_are_counted_over_all_partitions_asked_for(stored: Stored) -> None:
    for partition in range(3):
        stored.put(partition, *(a_run(11, f"rr-{n}", tenant=f"t-{partition}") for n in range(partition + 1)))
    assert stored.count()["in_progress"] == 6
    assert stored.count(partitions=(0, 2))["in_progress"] == 4


def test_the_oldest_come_first_whatever_their_partition_and_state(stored: Stored) -> None:
    stored.put(
        2, a_run(70, "second", tenant="t-2", state="completed_proof_incomplete"), a_run(12, "last", tenant="t-2")
    )
    stored.put(0, a_run(90, "first"), a_run(50, "fourth"))
    stored.put(1, a_run(60, "third", tenant="t-3"))
    every = ["first", "second", "third", "fourth", "last"]
    assert [found.run for found in stored.oldest()] == every
    for limit in range(len(every) + 1):
        assert [found.run for found in stored.oldest(limit)] == every[:limit]


def test_of_the_same_age_a_smaller_limit_shows_the_first_of_a_larger_one(stored: Stored) -> None:
    """`-` comes before the `/` behind a tenant's name, so the order of names is not the one that Redis has."""
    for partition in range(2):
        stored.put(partition, *(a_run(20, f"rr-{partition}", tenant=tenant) for tenant in ("t", "t-1", "t.2", "ta")))
    every = stored.oldest()
    assert len(every) == 8
    for limit in range(9):
        assert stored.oldest(limit) == every[:limit]


def test_a_store_that_is_being_restored_gives_what_it_has(stored: Stored) -> None:
    stored.begin(0)
    assert stored.count() == NONE
    stored.put(0, a_run(11), restoring=True)
    assert stored.count()["in_progress"] == 1
    assert [found.run for found in stored.oldest()] == ["rr-1"]


def test_all_partitions_are_asked_in_one_round_trip(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    stored.nodes.of(0).ping()
    sent = []
    send: Any = AbstractConnection.send_packed_command

    def counted(self: AbstractConnection, *args: Any, **options: Any) -> None:
        sent.append(args)
        send(self, *args, **options)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counted)
    count(stored.nodes, stored.namespace, range(100), LIMITS, NOW)
    assert len(sent) == 1
    oldest(stored.nodes, stored.namespace, range(100), LIMITS, NOW, 10)
    assert len(sent) == 2
