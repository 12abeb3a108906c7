# ruff: noqa: T201  a benchmark prints
"""Throughput and cost of an event: the worker beside pipelines that only read, write and store.

All work off the same events, one after the other and that several times, so that what else the machine does falls on
all of them alike. The null pipelines write what the worker has written, in number and in size:

    null, by run     a document for each run and transaction, as the worker does
    null, by event   a document for each event, which is how most pipelines are written
"""

from __future__ import annotations

import json
import statistics
from typing import Any

from kafka import KafkaConsumer

from contracts.topics import Topics
from tests.bench.pipelines import WORKER, CatchUp, Setup, catch_up
from tests.bench.workload import Workload
from tests.consistency import check

Shape = dict[str, list[float]]
"""By topic: records for each event, bytes of each record."""

NULL = ("-m", "tests.bench.null_pipeline")


def measure(kafka: str, store: str, events: int, rounds: int) -> dict[str, Any]:
    """Rows by name, and the worker's share of the null pipelines' throughput."""
    runs: dict[str, list[CatchUp]] = {"worker": [], "null, by run": [], "null, by event": []}
    for n in range(rounds):
        setup = _prepared(kafka, store, f"worker{n}", events)
        runs["worker"].append(catch_up(setup, events, *WORKER))
        if n == 0:
            print(f"  checked: {dict(check(setup.settings(), timeout_s=300).outcomes)}")
        shape = _shape_of(setup, events)
        for name, by_event in (("null, by run", False), ("null, by event", True)):
            prefix = name.split()[-1] + str(n)
            own = _shape_for(Topics(prefix), shape, by_event=by_event)
            setup = _prepared(kafka, store, prefix, events)
            runs[name].append(catch_up(setup, events, *NULL, json.dumps(own)))
            _check_null(setup, own, events)
    rows: dict[str, Any] = {name: _row(name, them) for name, them in runs.items()}
    for name in list(rows)[1:]:
        ratio = rows["worker"]["events_per_s"][1] / rows[name]["events_per_s"][1]
        print(f"the worker's median is {ratio:.2f} of {name}")
        rows[name]["worker_ratio"] = round(ratio, 3)
    return rows


def _prepared(kafka: str, store: str, name: str, events: int) -> Setup:
    setup = Setup(kafka, store, name).create()
    setup.preload(Workload(setup.topics).events(events))
    return setup


def _row(name: str, runs: list[CatchUp]) -> dict[str, Any]:
    """Least, median and most of each."""

    def spread(values: list[float]) -> tuple[float, float, float]:
        return round(min(values), 1), round(statistics.median(values), 1), round(max(values), 1)

    rates, cpu, peak = (spread([getattr(r, f) for r in runs]) for f in ("rate", "cpu_us", "peak_mb"))
    print(
        f"{name:<14} {rates[1]:>8.0f} events/s ({rates[0]:.0f} to {rates[2]:.0f})   "
        f"{cpu[1]:>5.0f} µs CPU an event ({cpu[0]:.0f} to {cpu[2]:.0f})   {peak[1]:>4.0f} MB peak"
    )
    return {"events_per_s": rates, "cpu_us": cpu, "peak_mb": peak}


ROLES = ("decision_state", "internal", "decision_changes")


def _shape_of(setup: Setup, events: int) -> Shape:
    """What the worker wrote, by the topics' roles."""
    shape = {}
    for role in ROLES:
        values = _values(setup, getattr(setup.topics, role))
        assert values, f"{role} is empty"
        shape[role] = [len(values) / events, statistics.mean(map(len, values))]
    print(
        f"  {setup.name} wrote {', '.join(f'{n:.2f} {role} of {b:.0f} B' for role, (n, b) in shape.items())}, an event"
    )
    return shape


def _shape_for(topics: Topics, shape: Shape, *, by_event: bool) -> Shape:
    return {
        getattr(topics, role): [1.0 if by_event and role == "decision_state" else ratio, size]
        for role, (ratio, size) in shape.items()
    }


def _check_null(setup: Setup, shape: Shape, events: int) -> None:
    """It has written what it was to write; a record may be owed."""
    for topic, (ratio, size) in shape.items():
        values = _values(setup, topic)
        assert abs(len(values) - ratio * events) <= 1, f"{topic} has {len(values)} records for {events} events"
        assert abs(len(values[0]) - size) < 2, f"{topic} has records of {len(values[0])} bytes"


def _values(setup: Setup, topic: str) -> list[bytes]:
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=setup.kafka,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        consumer_timeout_ms=1500,
    )
    try:
        return [record.value or b"" for record in consumer]
    finally:
        consumer.close()
