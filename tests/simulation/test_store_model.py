"""The simulation's store in the suite of all stores (tests/worker/test_store.py): what holds of Redis holds of it."""

from __future__ import annotations

import inspect
from typing import Final

import pytest

from projections.record import Key
from tests.simulation.clock import Time
from tests.simulation.store import OutOfMemory, Redis, SimulatedStore
from tests.simulation.surroundings import Undisturbed
from tests.worker import test_store
from worker.errors import PositionMoved, RedisUnreachable
from worker.ports import Position, Store, StoredInternal

PARTITIONS: Final = 11
START: Final = Position("g1", 0, 0)

# The tests of that suite that ask for nothing but a store; the fixture of this module gives them this one.
for _name, _test in vars(test_store).items():
    if _name.startswith("test_") and "store" in inspect.signature(_test).parameters:
        globals()[_name] = _test


@pytest.fixture
def store() -> Store:
    return SimulatedStore(Redis(PARTITIONS), Undisturbed(Time()))


def test_the_suite_is_run_here() -> None:
    assert "test_whoever_is_not_at_the_position_is_refused_and_changes_nothing" in globals()


def test_a_store_without_memory_reads_on_and_writes_nothing() -> None:
    redis = Redis(1)
    store = SimulatedStore(redis, Undisturbed(Time()))
    store.wipe(0, None, START, "topics", applied_at=1)
    key = Key("operation", "t-1", "op-1")
    redis.full = True
    with pytest.raises(OutOfMemory):
        store.apply(0, START, Position("g1", 1, 1), [StoredInternal(key, b"{}")], restoring=False, applied_at=1)
    assert store.read(0, START, [key]) == [None]


def test_a_store_that_goes_back_refuses_whoever_is_ahead_of_it() -> None:
    redis = Redis(1)
    store = SimulatedStore(redis, Undisturbed(Time()))
    store.wipe(0, None, START, "topics", applied_at=1)
    redis.keep_copy()
    later = Position("g1", 1, 1)
    store.apply(0, START, later, [], restoring=False, applied_at=1)
    redis.go_back(redis.kept[0])
    with pytest.raises(PositionMoved):
        store.read(0, later, [])
    assert store.read(0, START, []) == []


def test_a_store_that_is_down_says_so() -> None:
    redis = Redis(1)
    redis.down = True
    with pytest.raises(RedisUnreachable):
        SimulatedStore(redis, Undisturbed(Time())).status(0)
