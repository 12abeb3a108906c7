# ruff: noqa: T201  a benchmark prints
"""The cost of an event by step, without servers: one partition after the other as the loop does, records from memory.

The steps are taken apart by timing the functions that the worker calls; each is called so often that the clock's own
time is left out by measuring it.
"""

from __future__ import annotations

import gc
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import worker.batch
from contracts.events import Record
from contracts.ids import partition_of
from contracts.topics import Topics
from projections.inputs import InputDecoder
from projections.record import Key
from tests.bench.workload import Workload
from worker.batch import Batcher
from worker.merge import Merge
from worker.partition import Partition
from worker.ports import Ends, Output, Position
from worker.record_batches import encode_record
from worker.wiring import GC_THRESHOLD

EVENTS = 100_000
BATCH = 5_000
PARTITIONS = 4
ROUNDS = 3
STEPS = {
    "merge": "merge by timestamp",
    "decode": "decode: headers, strict JSON, schema, checks",
    "read_closure": "read: what the events may touch, decoded",
    "check_links": "check that links agree",
    "advance": "advance: facts, rules, changes",
    "current_document": "render documents",
    "encode": "encode documents and changes",
    "encode_internal": "encode internal records",
    "change_headers": "headers of changes",
    "write": "encode records for Kafka",
}
INSIDE = tuple(name for name in STEPS if hasattr(worker.batch, name))
"""Those that are called within a batch."""
_clock = time.perf_counter


class _Store:
    """What the batches need of a store, in a dictionary."""

    def __init__(self) -> None:
        self.records: dict[Key, bytes | None] = {}

    def read(self, partition: int, position: Position, keys: Sequence[Key]) -> list[bytes | None]:
        return [self.records.get(key) for key in keys]

    def due(self, *_: object) -> list[tuple[int, Key]]:
        return []


def measure() -> dict[str, float]:
    """Of each step the µs for an event, the least of some rounds; `else`: what is between them."""
    rounds = [_round() for _ in range(ROUNDS)]
    best = min(rounds, key=lambda found: found["in all"])
    for name, text in {**STEPS, "else": "what is between them", "in all": "in all"}.items():
        print(f"{best[name]:6.2f} µs  {text}")
    return best


def _round() -> dict[str, float]:
    spent: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            began = _clock()
            result = function(*arguments, **named)
            spent[name] += _clock() - began
            calls[name] += 1
            return result

        return call

    topics = Topics("bench")
    decode = InputDecoder(topics, PARTITIONS, "murmur2").decode
    plain = {name: getattr(worker.batch, name) for name in INSIDE}
    records = _records(topics)
    gc.collect()
    gc.freeze()
    thresholds = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLD)
    try:
        for name, function in plain.items():
            setattr(worker.batch, name, timed(name, function))
        began = _clock()
        _work_off(records, topics, timed("decode", decode), spent)
        total = _clock() - began
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        for name, function in plain.items():
            setattr(worker.batch, name, function)
    return _by_step(spent, calls, total)


def _by_step(spent: dict[str, float], calls: dict[str, int], total: float) -> dict[str, float]:
    clock = _clock_cost()
    taken = {name: spent[name] - calls[name] * clock / 2 for name in STEPS}
    in_all = total - sum(calls.values()) * clock
    found = {**taken, "else": in_all - sum(taken.values()), "in all": in_all}
    return {name: round(seconds / EVENTS * 1e6, 2) for name, seconds in found.items()}


def _records(topics: Topics) -> list[Record]:
    offsets: dict[tuple[str, int], int] = defaultdict(int)
    found = []
    for n, event in enumerate(Workload(topics).events(EVENTS)):
        number = partition_of(event.key, PARTITIONS, "murmur2")
        offset = offsets[event.topic, number]
        offsets[event.topic, number] += 1
        headers = tuple(event.headers)
        found.append(
            Record(event.topic, number, offset, 1_790_000_000_000 + n, event.key.encode(), event.value, headers)
        )
    return found


def _work_off(
    records: Sequence[Record], topics: Topics, decode: Callable[[Record], Any], spent: dict[str, float]
) -> None:
    store = _Store()
    batcher = Batcher(store, decode, topics)  # type: ignore[arg-type]
    nowhere, ends = Position("", 0, 0), Ends(0, 0, 0, 0)
    partitions = [Partition(n, Merge(topics.inputs), {}, 0, ends, nowhere) for n in range(PARTITIONS)]
    for at in range(0, len(records), BATCH):
        began = _clock()
        for record in records[at : at + BATCH]:
            partitions[record.partition].merge.add(record)
        taken = [p.merge.take(BATCH, topics.inputs) for p in partitions]
        spent["merge"] += _clock() - began
        for partition, mine in zip(partitions, taken, strict=True):
            batch = batcher.prepare(partition, mine, 2 * records[-1].timestamp)
            partition.stream_time = batch.stream_time
            store.records.update((write.key, write.value) for write in batch.writes)
            began = _clock()
            _write(batch.outputs)
            spent["write"] += _clock() - began


def _write(outputs: Sequence[Output]) -> int:
    return sum(len(encode_record(n, output)) for n, output in enumerate(outputs))


def _clock_cost() -> float:
    began = _clock()
    for _ in range(100_000):
        _clock()
        _clock()
    return (_clock() - began) / 100_000
