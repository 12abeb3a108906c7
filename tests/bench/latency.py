"""From producing an event to reading its document: by a read_committed consumer, and in Redis.

Each event is the first of a run of its own, so one document answers for it. Consumer and Redis are read in processes of
their own; all of them use the machine's one clock. Redis is asked for the documents that are due every millisecond.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from contextlib import closing
from multiprocessing.connection import Connection

import redis
from kafka import KafkaConsumer, KafkaProducer

from tests.bench.pipelines import WORKER, Setup, running, send
from tests.bench.workload import Event, Workload
from tests.servers.waiting import wait_until

Times = dict[str, float]


def measure(setup: Setup, rate: int, seconds: int) -> tuple[list[float], list[float]]:
    """Latencies in ms: to the consumer, to Redis. The first second is left out."""
    with running(setup, *WORKER):
        wait_until(setup.is_ready, 60, "the worker to run")
        return measure_running(setup, rate, seconds, first=0)


def measure_running(setup: Setup, rate: int, seconds: int, *, first: int) -> tuple[list[float], list[float]]:
    """The same with a worker that is there already. `first`: the number of the first of the restores that are begun."""
    context = multiprocessing.get_context("spawn")
    workload = Workload(setup.topics)
    events = [workload.single(first + n) for n in range(rate * seconds)]
    keys = {f"{setup.name}:{{{setup.partition(e.key)}}}:run:{e.key}/{e.run}": e.run for e in events}
    readers = []
    for target, arguments in ((_read_kafka, (setup, set(keys.values()))), (_read_redis, (setup, keys))):
        ours, theirs = context.Pipe()
        process = context.Process(target=target, args=(*arguments, theirs), daemon=True)
        process.start()
        ours.recv()
        readers.append((process, ours))
    sent = _send(setup, events, rate)
    seen: list[Times] = [connection.recv() for _, connection in readers]
    for process, _ in readers:
        process.join()
    to_kafka, to_redis = ([(times[e.run] - sent[e.run]) * 1000 for e in events[rate:]] for times in seen)
    return to_kafka, to_redis


def _send(setup: Setup, events: Sequence[Event], rate: int) -> Times:
    sent: Times = {}
    with closing(KafkaProducer(bootstrap_servers=setup.kafka, linger_ms=0, acks="all")) as producer:
        began = time.monotonic()
        for n, event in enumerate(events):
            pause = began + n / rate - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            sent[event.run] = time.time()
            send(setup, producer, event)
        producer.flush()
    return sent


def _read_kafka(setup: Setup, runs: set[str], answer: Connection) -> None:
    with closing(
        KafkaConsumer(
            setup.topics.decision_state,
            bootstrap_servers=setup.kafka,
            isolation_level="read_committed",
            auto_offset_reset="latest",
            fetch_max_wait_ms=50,
        )
    ) as consumer:
        consumer.poll(1000)
        answer.send("ready")
        seen: Times = {}
        while len(seen) < len(runs):
            for records in consumer.poll(100).values():
                now = time.time()
                for record in records:
                    run = record.key.decode().partition("/")[2]
                    if run in runs:
                        seen.setdefault(run, now)
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
