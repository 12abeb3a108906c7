"""From producing an event to reading its document: by a read_committed consumer, and in Redis.

Each event is the first of a run of its own, so one document answers for it. Consumer and Redis are read in processes of
their own; all of them use the machine's one clock. Redis is asked for the documents that are due every millisecond.
"""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection

import redis
from kafka import KafkaConsumer, KafkaProducer

from contracts.ids import partition_of
from tests.bench.pipelines import WORKER, Setup, running
from tests.bench.workload import Workload
from tests.servers.waiting import wait_until

Times = dict[str, float]


def measure(setup: Setup, rate: int, seconds: int) -> tuple[list[float], list[float]]:
    """Latencies in ms: to the consumer, to Redis. The first second is left out."""
    context = multiprocessing.get_context("spawn")
    count = rate * seconds
    workload = Workload(setup.topics)
    events = [workload.single(n) for n in range(count)]
    parts = {e.run: partition_of(e.key, setup.partitions, "murmur2") for e in events}
    keys = {f"{setup.name}:{{{parts[e.run]}}}:run:{e.key}/{e.run}": e.run for e in events}
    with running(setup, *WORKER):
        _wait_until_ready(setup)
        readers = []
        for target, arguments in ((_read_kafka, (setup, count)), (_read_redis, (setup, keys))):
            ours, theirs = context.Pipe()
            process = context.Process(target=target, args=(*arguments, theirs), daemon=True)
            process.start()
            ours.recv()
            readers.append((process, ours))
        sent = _send(setup, events, rate)
        seen: list[Times] = [connection.recv() for _, connection in readers]
        for process, _ in readers:
            process.join()
    measured = events[rate:]
    return tuple([(times[e.run] - sent[e.run]) * 1000 for e in measured] for times in seen)  # type: ignore[return-value]


def _wait_until_ready(setup: Setup) -> None:
    client = redis.Redis.from_url(setup.redis)
    names = [f"{setup.name}:{{{p}}}:position" for p in range(setup.partitions)]
    wait_until(lambda: all(client.hget(n, "status") == b"ready" for n in names), 60, "the worker to run")


def _send(setup: Setup, events: list, rate: int) -> Times:  # type: ignore[type-arg]
    producer = KafkaProducer(bootstrap_servers=setup.kafka, linger_ms=0, acks="all")
    sent: Times = {}
    began = time.monotonic()
    for n, event in enumerate(events):
        pause = began + n / rate - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        sent[event.run] = time.time()
        producer.send(
            event.topic,
            key=event.key.encode(),
            value=event.value,
            headers=event.headers,
            partition=partition_of(event.key, setup.partitions, "murmur2"),
        )
    producer.flush()
    return sent


def _read_kafka(setup: Setup, count: int, answer: Connection) -> None:
    consumer = KafkaConsumer(
        setup.topics.decision_state,
        bootstrap_servers=setup.kafka,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
    )
    consumer.poll(1000)
    answer.send("ready")
    seen: Times = {}
    while len(seen) < count:
        for records in consumer.poll(100).values():
            now = time.time()
            for record in records:
                seen.setdefault(record.key.decode().partition("/")[2], now)
    answer.send(seen)


def _read_redis(setup: Setup, keys: dict[str, str], answer: Connection) -> None:
    client = redis.Redis.from_url(setup.redis)
    answer.send("ready")
    names = list(keys)
    seen: Times = {}
    first = 0
    while first < len(names):
        due = names[first : first + 64]
        found = client.mget(due)
        now = time.time()
        for name, value in zip(due, found, strict=True):
            if value is not None:
                seen.setdefault(keys[name], now)
        while first < len(names) and keys[names[first]] in seen:
            first += 1
        time.sleep(0.001)
    answer.send(seen)
