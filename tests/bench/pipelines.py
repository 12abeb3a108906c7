# ruff: noqa: T201  a benchmark prints
"""What is measured: the worker, and a null pipeline, each a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from kafka import KafkaConsumer, TopicPartition

from contracts.topics import Topics
from tests.servers.waiting import wait_until
from worker.settings import Settings


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
            if process.poll() is not None:
                print(said.read_text(), file=sys.stderr)
            process.terminate()
            process.wait(15)


WORKER = ("-c", "from worker.cli import main; main()", "run")


@dataclass(frozen=True, slots=True)
class CatchUp:
    """How a preloaded backlog was worked off."""

    events: int
    seconds: float
    cpu_seconds: float
    peak_mb: float

    @property
    def rate(self) -> float:
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float:
        return self.cpu_seconds / self.events * 1e6


def catch_up(setup: Setup, events: int, *command: str) -> CatchUp:
    """Start a pipeline on a backlog and measure from its first commit to its last; both ends are seen within 20 ms."""
    consumer = KafkaConsumer(bootstrap_servers=setup.kafka, group_id=setup.name, enable_auto_commit=False)
    inputs = [TopicPartition(t, p) for t in setup.topics.inputs for p in range(setup.partitions)]

    def done() -> int:
        return sum(consumer.committed(tp) or 0 for tp in inputs)

    try:
        with running(setup, *command) as process:
            before = wait_until(done, 60, "the first commit")
            began, cpu = time.monotonic(), _cpu(process)
            wait_until(lambda: done() >= events, 600, lambda: f"all events; {done()} of {events} done")
            seconds, cpu_seconds = time.monotonic() - began, _cpu(process) - cpu
            return CatchUp(events - before, seconds, cpu_seconds, _peak_mb(process))
    finally:
        consumer.close()


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _peak_mb(process: psutil.Process) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
