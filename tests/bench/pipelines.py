# ruff: noqa: T201  a benchmark prints
"""What is measured: the worker, and null pipelines, each a process of its own; and how one works off a backlog."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import redis
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from contracts.ids import partition_of
from contracts.topics import Topics
from tests.bench.workload import Event
from tests.servers.waiting import wait_until
from worker.settings import Settings
from worker.topics import create_topics

WORKER = ("-c", "from worker.cli import main; main()", "run")


@dataclass(frozen=True, slots=True)
class Setup:
    """Where a pipeline works: servers, and names of its own."""

    kafka: str
    redis: str
    name: str
    partitions: int = 4

    @property
    def topics(self) -> Topics:
        return Topics(self.name)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "RESTORE_PROJECTOR_KAFKA__BOOTSTRAP_SERVERS": self.kafka,
            "RESTORE_PROJECTOR_KAFKA__GROUP_ID": self.name,
            "RESTORE_PROJECTOR_KAFKA__INSTANCE": "bench",
            "RESTORE_PROJECTOR_TOPICS__PREFIX": self.name,
            "RESTORE_PROJECTOR_REDIS__URL": self.redis,
            "RESTORE_PROJECTOR_REDIS__NAMESPACE": self.name,
            "RESTORE_PROJECTOR_LOG__LEVEL": "error",
        }

    def settings(self) -> Settings:
        os.environ.update(self.environment)
        return Settings()

    def create(self) -> Setup:
        """Its topics, and an empty Redis."""
        with closing(redis.Redis.from_url(self.redis)) as store:
            store.flushall()
        create_topics(self.settings(), self.partitions, 1)
        return self

    def partition(self, tenant: str) -> int:
        return partition_of(tenant, self.partitions, "murmur2")

    def preload(self, events: Iterable[Event]) -> None:
        """Write events as fast as it goes."""
        with closing(KafkaProducer(bootstrap_servers=self.kafka, linger_ms=20, batch_size=1 << 18, acks="all")) as to:
            for event in events:
                send(self, to, event)
            to.flush()

    def is_ready(self) -> bool:
        """All partitions of the worker's store are there."""
        with closing(redis.Redis.from_url(self.redis)) as store:
            names = (f"{self.name}:{{{number}}}:position" for number in range(self.partitions))
            return all(store.hget(name, "status") == b"ready" for name in names)


def send(setup: Setup, producer: KafkaProducer, event: Event) -> None:
    producer.send(
        event.topic,
        key=event.key.encode(),
        value=event.value,
        headers=event.headers,
        partition=setup.partition(event.key),
    )


@contextmanager
def running(setup: Setup, *command: str) -> Iterator[psutil.Process]:
    """A pipeline as a process; what it says goes to a file that is shown if it ends by itself."""
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder, "said")
        with said.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, *command], env={**os.environ, **setup.environment}, stdout=out, stderr=out
            )
        try:
            yield psutil.Process(process.pid)
        finally:
            if process.poll() not in (None, -9):
                print(said.read_text(), file=sys.stderr)
            process.terminate()
            process.wait(15)


@dataclass(frozen=True, slots=True)
class Moment:
    """How far a pipeline was: seconds since its first commit, events done, memory in MB."""

    at: float
    done: int
    mb: float


@dataclass(frozen=True, slots=True)
class CatchUp:
    """How a backlog was worked off, from the first commit to the last."""

    events: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    moments: list[Moment] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float:
        return self.cpu_seconds / self.events * 1e6


def catch_up(setup: Setup, events: int, *command: str) -> CatchUp:
    """Start a pipeline on a backlog and measure from its first commit to its last; both ends are seen within 20 ms."""
    with running(setup, *command) as process:
        return watch_catching_up(setup, process, events)


def watch_catching_up(setup: Setup, process: psutil.Process, events: int) -> CatchUp:
    """The same of a process that has just been started."""
    inputs = [TopicPartition(t, p) for t in setup.topics.inputs for p in range(setup.partitions)]
    with closing(KafkaConsumer(bootstrap_servers=setup.kafka, group_id=setup.name, enable_auto_commit=False)) as reader:

        def done() -> int:
            return sum(reader.committed(tp) or 0 for tp in inputs)

        before = wait_until(done, 60, "the first commit")
        began, cpu = time.monotonic(), cpu_seconds(process)
        moments: list[Moment] = []

        def all_done() -> bool:
            now = done()
            moments.append(Moment(time.monotonic() - began, now - before, memory_mb(process)))
            return now >= events

        wait_until(all_done, 600, lambda: f"all of {events} events; {moments[-1].done} done")
        seconds, spent = time.monotonic() - began, cpu_seconds(process) - cpu
    return CatchUp(events - before, seconds, spent, peak_mb(process), moments)


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def memory_mb(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / (1 << 20)


def peak_mb(process: psutil.Process) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
