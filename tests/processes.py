"""Workers for tests: in a thread of this process where that is enough, as processes where they are to be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from tests.servers.ports import KafkaServer, RedisServer
from tests.servers.waiting import wait_until
from worker.health import Health
from worker.logs import silent_events
from worker.metrics import Metrics
from worker.settings import KafkaSettings, RedisSettings, Settings, TopicsSettings, describe_settings, variable_of
from worker.topics import create_topics
from worker.wiring import run_worker

START_TIMEOUT_S: Final = 30.0
"""Until a worker runs its partitions: a second when all is quiet, a session time-out after a killed member."""
STOP_TIMEOUT_S: Final = 20.0
SESSION_MS: Final = 6_000
"""The shortest that a broker allows by default: how long a killed worker without instance keeps its partitions."""
HEARTBEAT_MS: Final = 300
"""How fast a rebalance is noticed."""
TRANSACTION_MS: Final = 3_000
"""How long a killed worker's open transaction holds up its partitions' next owner; 10 s by default."""


def install(kafka: KafkaServer, redis: RedisServer, name: str, partitions: int) -> Settings:
    """Make an installation's topics; returns the settings that workers of it are run with."""
    settings = Settings(
        kafka=KafkaSettings(
            bootstrap_servers=kafka.bootstrap_servers,
            group_id=name,
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            transaction_timeout_ms=TRANSACTION_MS,
        ),
        topics=TopicsSettings(prefix=name),
        redis=RedisSettings(url=SecretStr(redis.url), namespace=name),
    )
    create_topics(settings, partitions, replication_factor=1)
    return settings


class ThreadWorker:
    """A worker in a thread. What it raises is raised again when it is stopped."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.health = Health()
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(STOP_TIMEOUT_S)
        assert not self._thread.is_alive(), f"the worker did not stop within {STOP_TIMEOUT_S:g} s"
        if self.error is not None:
            raise self.error

    def wait_until_ready(self) -> None:
        wait_until(self._is_ready, START_TIMEOUT_S, lambda: f"the worker is ready: {self.health.readyz().body}")

    def _is_ready(self) -> bool:
        if self.error is not None:
            raise self.error
        return bool(self.health.readyz().body["ready"])

    def count(self, name: str, **labels: str) -> int:
        """A metric's value; 0 while it has none."""
        return int(self.metrics.registry.get_sample_value(f"restore_projector_{name}", labels) or 0)

    def _run(self) -> None:
        try:
            run_worker(self.settings, stop=self._stop, metrics=self.metrics, health=self.health, events=silent_events())
        except BaseException as error:  # noqa: BLE001  for whoever waits for this thread
            self.error = error


@contextmanager
def running(settings: Settings) -> Iterator[ThreadWorker]:
    """A worker that owns its partitions already, for the time of the context."""
    worker = ThreadWorker(settings)
    worker.start()
    try:
        worker.wait_until_ready()
        yield worker
    finally:
        worker.stop()


COMMAND: Final = (sys.executable, "-c", "from worker.cli import main; main()")


class WorkerProcess:
    """`restore-projector run` as a process; its log is appended to a file over restarts."""

    def __init__(self, settings: Settings, log: Path, command: Sequence[str] = COMMAND, **overrides: str) -> None:
        """`command`: the command line, of this version or another one (`tests.versions`)."""
        self._command = command
        self._environment = {**os.environ, **environment(settings), **overrides}
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        assert not self.alive, "already running"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, "run"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout_s: float) -> int:
        """Its exit code; AssertionError with its last words if it does not end in time."""
        assert self._process is not None, "not started"
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker did not end within {timeout_s:g} s\n{self.last_words()}") from None

    def said(self, event: str) -> list[dict[str, Any]]:
        """All of its log's lines of an event, as they are defined in `worker.logs`."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        found = (json.loads(line) for line in lines if line.startswith("{") and f'"{event}"' in line)
        return [line for line in found if line.get("event") == event]

    def owns(self) -> set[int]:
        """The partitions that it said last to have been assigned."""
        assigned = self.said("partitions_assigned")
        return set(assigned[-1]["partitions"]) if assigned and self.alive else set()

    def wait_until_owning(self, count: int, timeout_s: float = START_TIMEOUT_S) -> None:
        def owning() -> bool:
            assert self.alive, f"{self.log.stem} ended\n{self.last_words()}"
            return len(self.owns()) == count

        wait_until(
            owning,
            timeout_s,
            lambda: f"{self.log.stem} owns {count} partitions, not {self.owns()}\n{self.last_words()}",
        )

    def last_words(self, lines: int = 20) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def environment(settings: Settings) -> Mapping[str, str]:
    """The environment variables that give these settings."""
    shown = {s.variable: s.value for s in describe_settings(settings) if s.value is not None and not s.secret}
    return shown | {
        variable_of((group, name)): value.get_secret_value()
        for group in ("kafka", "redis")
        for name, value in getattr(settings, group)
        if isinstance(value, SecretStr)
    }
