# ruff: noqa: T201  a benchmark prints
"""A large installation: a backlog of a million events, and with all of it stored the worker killed, emptied, idle.

What is promised whatever the size: memory and throughput do not depend on how much waits or is stored, `status` says
truly how long it will take, latency is as usual seconds after it has caught up, a killed worker goes on at once, and an
emptied Redis is filled again.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psutil
import redis
from kafka import KafkaConsumer, KafkaProducer

from tests.bench.latency import measure_running
from tests.bench.pipelines import WORKER, CatchUp, Setup, cpu_seconds, memory_mb, running, send, watch_catching_up
from tests.bench.workload import Workload
from tests.servers.waiting import wait_until

CLI = ("-c", "from worker.cli import main; main()")
KILLS = 5
RESTORES = 3
LIVE_RATE = 100
"""Events a second that come in while the worker is killed: so many that a gap is seen to 10 ms."""
IDLE_S = 30
ASKED_AFTER_S = 10
"""Seconds after which `status` is asked how long it will take."""
SLICES = 20
SETTLED_S = 3
"""How soon after catching up latency is measured."""


def measure(kafka: str, store: str, events: int) -> dict[str, Any]:
    """A backlog of so many events, then what is done with all of it stored."""
    setup = Setup(kafka, store, "large").create()
    setup.preload(Workload(setup.topics).events(events))
    print(f"  {events} events wait")
    results: dict[str, Any] = {"events": events}
    with running(setup, *WORKER) as process:
        estimates: list[tuple[float, float]] = []
        asking = threading.Thread(target=_ask, args=(setup, estimates), daemon=True)
        asking.start()
        backlog = watch_catching_up(setup, process, events)
        asking.join()
        results["backlog"] = _told_of(backlog, estimates)
        time.sleep(SETTLED_S)
        results["latency_after_ms"] = _percentiles(measure_running(setup, 100, 10, first=0))
        print(f"latency at 100/s, {SETTLED_S} s after it has caught up: {results['latency_after_ms']}")
    results["stored"] = _stored(setup)
    results["killed"] = _kills(setup)
    results["restored"] = _restores(setup)
    return results


def _ask(setup: Setup, estimates: list[tuple[float, float]]) -> None:
    """When `status` was looked at, and how many seconds it said that it will take from then on."""
    time.sleep(ASKED_AFTER_S)
    command = [sys.executable, *CLI, "status", "--watch", "--every", "5", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **setup.environment}) as asked:
        assert asked.stdout is not None
        for line in asked.stdout:
            if left := [_seconds(span) for span in re.findall(r"about ([^:;\"]+?) to go", line)]:
                estimates.append((time.monotonic(), max(left)))
                break
        asked.terminate()


def _seconds(span: str) -> float:
    """Of a duration as `worker.durations.span` writes it."""
    unit = {"d": 86_400, "h": 3_600, "min": 60, "s": 1, "ms": 0.001}
    return sum(float(count) * unit[name] for count, name in re.findall(r"([\d.]+) (\w+)", span))


def _told_of(run: CatchUp, estimates: list[tuple[float, float]]) -> dict[str, Any]:
    """Throughput and memory in each slice of the time, and how true it was what `status` said."""
    slices = []
    for n in range(SLICES):
        part = [m for m in run.moments if n / SLICES <= m.at / run.seconds <= (n + 1) / SLICES]
        rate = (part[-1].done - part[0].done) / (part[-1].at - part[0].at)
        slices.append({"done": part[-1].done, "events_per_s": round(rate), "mb": round(max(m.mb for m in part))})
    ended = time.monotonic()
    for asked_at, seconds in estimates:
        print(f"status said {seconds:.0f} s, it took {ended - asked_at:.0f} s")
    rates = [s["events_per_s"] for s in slices]
    print(f"backlog: {run.rate:.0f} events/s, {run.cpu_us:.0f} µs CPU an event, {run.peak_mb:.0f} MB peak")
    print(
        f"  its {SLICES} parts: {min(rates)} to {max(rates)}/s; first {slices[0]['mb']} MB, last {slices[-1]['mb']} MB"
    )
    return {
        "events_per_s": round(run.rate),
        "cpu_us": round(run.cpu_us, 1),
        "peak_mb": round(run.peak_mb),
        "slices": slices,
        "estimates_s": [(round(s), round(ended - at)) for at, s in estimates],
    }


def _percentiles(latencies: tuple[list[float], list[float]]) -> dict[str, Any]:
    found = {}
    for name, values in zip(("consumer", "redis"), latencies, strict=True):
        cuts = statistics.quantiles(values, n=100)
        found[name] = {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1)}
    return found


def _stored(setup: Setup) -> int:
    with closing(redis.Redis.from_url(setup.redis)) as store:
        records = sum(int(store.scard(f"{setup.name}:{{{n}}}:records")) for n in range(setup.partitions))
    print(f"stored: {records} records")
    return records


# Killed


@contextmanager
def _live(setup: Setup, first: int) -> Iterator[None]:
    """New restores all the time."""
    ended = threading.Event()

    def go() -> None:
        number, workload = first, Workload(setup.topics)
        with closing(KafkaProducer(bootstrap_servers=setup.kafka, acks="all")) as producer:
            while not ended.wait(1 / LIVE_RATE):
                send(setup, producer, workload.single(number))
                number += 1

    sending = threading.Thread(target=go)
    sending.start()
    try:
        yield
    finally:
        ended.set()
        sending.join()


def _kills(setup: Setup) -> dict[str, Any]:
    """Seconds from a kill -9 until the first output of the worker that is started at once in its place."""
    gaps, peaks = [], []
    with _live(setup, 10**6), closing(_outputs(setup)) as reader:
        for _ in range(KILLS):
            with running(setup, *WORKER) as process:
                wait_until(setup.is_ready, 60, "the worker to run")
                _until_output(reader, time.time())
                time.sleep(1)
                process.send_signal(9)
                process.wait()
                killed = time.time()
            with running(setup, *WORKER) as process:
                gaps.append(_until_output(reader, killed) - killed)
                time.sleep(1)
                peaks.append(memory_mb(process))
    print(f"killed and started again, first output after {_spread(gaps)} s; {max(peaks):.0f} MB")
    return {"gap_s": [round(gap, 2) for gap in gaps], "mb": round(max(peaks))}


def _outputs(setup: Setup) -> KafkaConsumer:
    reader = KafkaConsumer(
        setup.topics.decision_state,
        bootstrap_servers=setup.kafka,
        isolation_level="read_committed",
        auto_offset_reset="latest",
        fetch_max_wait_ms=20,
    )
    reader.poll(1000)
    return reader


def _until_output(reader: KafkaConsumer, after: float) -> float:
    """When a record came that was written after a moment (both Unix time)."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for records in reader.poll(50).values():
            if records[-1].timestamp / 1000 > after:
                return time.time()
    raise AssertionError("no output within 60 s")


# Emptied, and idle


def _restores(setup: Setup) -> dict[str, Any]:
    """Seconds to restore everything, from an empty Redis on; then what an idle worker costs."""
    seconds: list[float] = []
    rates: list[float] = []
    peaks: list[float] = []
    idle: list[float] = []
    with closing(redis.Redis.from_url(setup.redis)) as store:
        for _ in range(RESTORES):
            store.flushall()
            with running(setup, *WORKER) as process:
                wait_until(lambda: store.dbsize() > 0, 60, "the restore to begin")
                began = time.monotonic()
                wait_until(setup.is_ready, 120, "the restore to end")
                seconds.append(time.monotonic() - began)
                rates.append(_stored(setup) / seconds[-1])
                peaks.append(memory_mb(process))
                idle.append(_idle(process))
    print(f"restored in {_spread(seconds)} s: {statistics.median(rates):.0f} records/s, {max(peaks):.0f} MB")
    print(f"idle: {_spread(idle)} % of a core")
    return {
        "seconds": [round(s, 2) for s in seconds],
        "records_per_s": [round(r) for r in rates],
        "mb": round(max(peaks)),
        "idle_percent": [round(percent, 2) for percent in idle],
    }


def _idle(process: psutil.Process) -> float:
    time.sleep(2)
    cpu, began = cpu_seconds(process), time.monotonic()
    time.sleep(IDLE_S)
    return (cpu_seconds(process) - cpu) / (time.monotonic() - began) * 100


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
