# ruff: noqa: T201  a benchmark prints
"""`make bench`: catch-up beside a null pipeline, and latency. Prints a table; `--json FILE` writes it as well."""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import redis
from kafka import KafkaConsumer, KafkaProducer

from contracts.ids import partition_of
from contracts.topics import Topics
from tests.bench.latency import measure
from tests.bench.pipelines import WORKER, CatchUp, Setup, catch_up
from tests.bench.workload import Workload
from tests.consistency import check
from tests.servers.backends import kafka_runner, make_kafka, make_redis, redis_runner
from worker.topics import create_topics


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        kafka = make_kafka(kafka_runner("auto"), _folder(folder, "kafka"))
        store = make_redis(redis_runner("auto"), _folder(folder, "redis"))
        try:
            kafka.start()
            store.start()
            results = _measure(kafka.bootstrap_servers, store.url, arguments)
        finally:
            kafka.close()
            store.close()
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=int, default=200, help="events a second, for latency")
    parser.add_argument("--seconds", type=int, default=30, help="how long latency is measured")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _folder(parent: str, name: str) -> Path:
    path = Path(parent, name)
    path.mkdir()
    return path


def _measure(kafka: str, store: str, arguments: argparse.Namespace) -> dict[str, Any]:
    results: dict[str, Any] = {"events": arguments.events}
    worker: list[CatchUp] = []
    null: list[CatchUp] = []
    for n in range(arguments.rounds):
        setup = _prepared(kafka, store, f"worker{n}", arguments.events)
        worker.append(catch_up(setup, arguments.events, *WORKER))
        if n == 0:
            print(f"  checked: {check(setup.settings(), timeout_s=300).outcomes}")
        shape = _shape_of(setup, arguments.events)
        setup = _prepared(kafka, store, f"null{n}", arguments.events)
        null.append(catch_up(setup, arguments.events, "-m", "tests.bench.null_pipeline", json.dumps(shape)))
    for name, runs in (("worker", worker), ("null pipeline", null)):
        results[name] = _row(name, runs)
    ratio = results["worker"]["events_per_s"][1] / results["null pipeline"]["events_per_s"][1]
    print(f"ratio of medians, worker to null pipeline: {ratio:.2f}")
    results["ratio"] = round(ratio, 3)
    setup = Setup(kafka, store, "latency")
    create_topics(setup.settings(), setup.partitions, 1)
    for name, latencies in zip(("consumer", "Redis"), measure(setup, arguments.rate, arguments.seconds), strict=True):
        cuts = statistics.quantiles(latencies, n=100)
        results[f"latency_{name.lower()}_ms"] = {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1)}
        print(f"produce to {name:<8} at {arguments.rate}/s: p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms")
    return results


def _row(name: str, runs: list[CatchUp]) -> dict[str, Any]:
    def spread(values: list[float]) -> tuple[float, float, float]:
        return round(min(values), 1), round(statistics.median(values), 1), round(max(values), 1)

    rates, cpu, peak = (spread([getattr(r, f) for r in runs]) for f in ("rate", "cpu_us", "peak_mb"))
    print(
        f"{name:<14} {rates[1]:>8.0f} events/s ({rates[0]:.0f} to {rates[2]:.0f})   "
        f"{cpu[1]:>5.0f} µs CPU an event ({cpu[0]:.0f} to {cpu[2]:.0f})   {peak[1]:>4.0f} MB peak"
    )
    return {"events_per_s": rates, "cpu_us": cpu, "peak_mb": peak}


def _prepared(kafka: str, store: str, name: str, events: int) -> Setup:
    """Topics with a backlog, and an empty Redis."""
    setup = Setup(kafka, store, name)
    redis.Redis.from_url(store).flushall()
    create_topics(setup.settings(), setup.partitions, 1)
    producer = KafkaProducer(bootstrap_servers=kafka, linger_ms=20, batch_size=1 << 18, acks="all")
    for event in Workload(setup.topics).events(events):
        producer.send(
            event.topic,
            key=event.key.encode(),
            value=event.value,
            headers=event.headers,
            partition=partition_of(event.key, setup.partitions, "murmur2"),
        )
    producer.flush()
    producer.close()
    return setup


def _shape_of(setup: Setup, events: int) -> dict[str, list[float]]:
    """What the worker wrote: topic of the null pipeline → records per event, bytes per record."""
    other = Topics(setup.name.replace("worker", "null"))
    shape = {}
    for role in ("decision_state", "internal", "decision_changes"):
        values = _values(setup, getattr(setup.topics, role))
        assert values, f"{role} is empty"
        shape[getattr(other, role)] = [len(values) / events, statistics.mean(map(len, values))]
    changes = _values(setup, setup.topics.decision_changes)
    print(f"  {setup.name}: {len(changes) / events:.2f} changes an event, shape {json.dumps(list(shape.values()))}")
    return shape


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


if __name__ == "__main__":
    main()
