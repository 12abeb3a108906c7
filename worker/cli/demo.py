"""`demo`: servers of its own, the real worker, a recorded story, and what comes of it.

The worker is the one that `run` runs, in a thread. The story is told one record at a time; what the worker counts tells
when it has dealt with each, and what it published is read from Kafka as anybody would read it. In the end everything is
compared with what the story must give.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from worker.errors import ProjectorError

if TYPE_CHECKING:
    from contracts.topics import Topics
    from worker.cli.screen import Screen
    from worker.metrics import Metrics
    from worker.settings import Settings

PARTITIONS: Final = 3
STEP_S: Final = 0.14
"""From one record to the next: slow enough for the eye, and for the order across topics (100 ms)."""
PATIENCE_S: Final = 20.0
"""For a single step of the worker; it takes some milliseconds, joining its group some seconds."""


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: restore-projector demo")(demo)


def demo() -> None:
    """See what it is for: a story of fifteen restores, on this machine, in twenty seconds.

    Starts a Kafka-compatible broker and a Valkey of its own (the extra `demo`), runs the worker on them, and shows
    each event and the change that it makes; then where every restore stands, and why one of them is decided as it is.
    Exit 1 if anything is not as the story must give it.
    """
    from worker.cli.screen import Screen
    from worker.local import embedded_servers

    screen = Screen()
    began = time.monotonic()
    with embedded_servers() as settings:
        differences = _play(settings, screen)
    screen.end(differences, time.monotonic() - began)
    raise typer.Exit(1 if differences else 0)


class DemoFailed(ProjectorError):
    """The story could not be played to its end."""


def _play(settings: Settings, screen: Screen) -> list[str]:
    from worker.topics import create_topics

    screen.introduce()
    create_topics(settings, PARTITIONS, 1)
    with _worker(settings, screen) as worker:
        outputs = Outputs(settings)
        try:
            _tell(settings, screen, worker, outputs)
        finally:
            outputs.close()
    shown = _documents(settings)
    screen.table(list(shown.values()))
    screen.explain(shown)
    return list(_differences(outputs, worker, shown))


@dataclass(slots=True)
class WorkerThread:
    """The worker beside us: what it counts, and what ended it if something did."""

    metrics: Metrics
    error: BaseException | None = None

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if self.error is not None:
                raise DemoFailed(f"the worker ended: {type(self.error).__name__}: {self.error}") from self.error
            if time.monotonic() > deadline:
                raise DemoFailed(f"{what}: not within {PATIENCE_S:.0f} s")
            time.sleep(0.005)

    def records(self) -> dict[str, int]:
        """Input records dealt with, by outcome."""
        counts: dict[str, int] = defaultdict(int)
        for labels, value in _samples(self.metrics.records):
            counts[labels["outcome"]] += value
        return counts

    def total(self, counter: Any) -> int:
        return sum(value for _, value in _samples(counter))

    def running(self) -> int:
        """Partitions that run."""
        samples = (sample for metric in self.metrics.partitions.collect() for sample in metric.samples)
        return sum(int(sample.value) for sample in samples if sample.labels["state"] == "running")


def _samples(counter: Any) -> Iterator[tuple[dict[str, str], int]]:
    for metric in counter.collect():
        for sample in metric.samples:
            if sample.name.endswith("_total"):
                yield sample.labels, int(sample.value)


@contextmanager
def _worker(settings: Settings, screen: Screen) -> Iterator[WorkerThread]:
    from worker.health import Health
    from worker.logs import configure_logs
    from worker.metrics import Metrics
    from worker.settings import LogSettings
    from worker.wiring import run_worker

    metrics, health, stop = Metrics(), Health(), threading.Event()
    worker = WorkerThread(metrics)
    with tempfile.TemporaryDirectory(prefix="restore-projector-") as scratch:
        log = Path(scratch, "worker.log")
        with log.open("w", encoding="utf-8") as stream:
            events = configure_logs(LogSettings(format="console"), stream)

            def work() -> None:
                try:
                    run_worker(settings, stop=stop, metrics=metrics, health=health, events=events)
                except Exception as error:  # noqa: BLE001  told by the thread that waits for us
                    worker.error = error

            thread = threading.Thread(target=work, name="worker", daemon=True)
            thread.start()
            try:
                with screen.waiting("The worker joins its consumer group …"):
                    worker.wait_until(lambda: worker.running() == PARTITIONS, "every partition runs")
                yield worker
            except DemoFailed:
                stream.flush()
                screen.log(log.read_text(encoding="utf-8"))
                raise
            finally:
                stop.set()
                thread.join(PATIENCE_S)
                logging.getLogger().handlers = [logging.NullHandler()]


class Outputs:
    """Everything that the worker publishes, read from Kafka in the order in which it comes."""

    def __init__(self, settings: Settings) -> None:
        from kafka import KafkaConsumer, TopicPartition

        from worker.kafka_clients import make_client
        from worker.local import FETCH_WAIT_MS

        topics = settings.topic_names
        self._topics: Topics = topics
        self._consumer = make_client(
            KafkaConsumer,
            **settings.kafka.client_options(),
            isolation_level="read_committed",
            enable_auto_commit=False,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            metrics_enabled=False,
        )
        self._consumer.assign([TopicPartition(topic, n) for topic in topics.outputs for n in range(PARTITIONS)])
        self._consumer.seek_to_beginning()
        self.changes: list[dict[str, Any]] = []
        self.letters: list[str] = []
        self.documents: dict[str, bytes | None] = {}
        self.documents_read = 0

    def read(self) -> None:
        """Take what has come since the last time."""
        from contracts.decision import decode
        from contracts.letters import read_letter

        for records in self._consumer.poll(timeout_ms=50).values():
            for record in records:
                if record.topic == self._topics.decision_changes:
                    self.changes.append(decode(record.value))
                elif record.topic == self._topics.decision_state:
                    self.documents[record.key.decode()] = record.value
                    self.documents_read += 1
                else:
                    self.letters.append(read_letter(record.headers).reason)

    def states(self, tenant: str, run: str) -> tuple[str | None, ...]:
        """The states that a restore went through."""
        return tuple(c["to_state"] for c in self.changes if (c["tenant_id"], c["restore_run_id"]) == (tenant, run))

    def close(self) -> None:
        self._consumer.close()


@dataclass(slots=True)
class Telling:
    """One telling of the story: what was sent, and what was shown of what came of it."""

    screen: Screen
    worker: WorkerThread
    outputs: Outputs
    began: float = field(default_factory=time.monotonic)
    changes_shown: int = 0
    letters_shown: int = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def show_results(self, note: str = "", *, stale: bool = False) -> None:
        """Show the changes and dead letters of what the worker has dealt with, waiting until they can be read."""
        self._read_all()
        letters = self.outputs.letters[self.letters_shown :]
        changes = self.outputs.changes[self.changes_shown :]
        self.letters_shown, self.changes_shown = len(self.outputs.letters), len(self.outputs.changes)
        caused = [change for change in changes if change["origin"] != "deadline"]
        for reason in letters:
            self.screen.letter(reason, note)
        for change in caused:
            self.screen.change(change, "" if letters else note)
        if not caused and not letters and (note or stale):
            self.screen.no_change(note, stale=stale)
        for change in changes:
            if change not in caused:
                self.screen.clock(self.seconds, change["cause"]["id"])
                self.screen.change(change, "")

    def _read_all(self) -> None:
        """Read until everything is read that the worker has published."""
        metrics, outputs = self.worker.metrics, self.outputs
        counters = (metrics.changes_published, metrics.dead_letters, metrics.documents_published)

        def all_read() -> bool:
            published = [self.worker.total(counter) for counter in counters]
            read = [len(outputs.changes), len(outputs.letters), outputs.documents_read]
            if all(r >= p for r, p in zip(read, published, strict=True)):
                return True
            outputs.read()
            return False

        self.worker.wait_until(all_read, "what was published can be read")


def _tell(settings: Settings, screen: Screen, worker: WorkerThread, outputs: Outputs) -> None:
    """Tell the story, a record at a time, and show what comes of each."""
    from worker.sources import SourceProducer
    from worker.story import EXPIRIES, STORY, Teller

    producer = SourceProducer(settings.kafka, PARTITIONS)
    teller = Teller(settings.topic_names)
    telling = Telling(screen, worker, outputs)
    try:
        for number, step in enumerate(STORY, 1):
            told = time.monotonic()
            stale = worker.records()["stale"]
            producer.send(teller.record(step, time.time_ns() // 1_000_000))
            producer.flush()
            screen.event(telling.seconds, step)
            worker.wait_until(lambda: sum(worker.records().values()) >= number, f"record {number} is dealt with")  # noqa: B023
            telling.show_results(step.note, stale=worker.records()["stale"] > stale)
            time.sleep(max(0.0, told + STEP_S - time.monotonic()))
        worker.wait_until(lambda: worker.total(worker.metrics.expiries) >= EXPIRIES, "the evidence expires")
        telling.show_results()
    finally:
        producer.close()


def _documents(settings: Settings) -> dict[str, dict[str, Any]]:
    """What the store shows, by `<tenant>/<run>`."""
    from contracts.decision import decode
    from worker.fitness import connect

    found: dict[str, dict[str, Any]] = {}
    with connect(settings.redis) as client:
        for key in client.scan_iter(match=f"{settings.redis.namespace}:{{*}}:run:*"):
            found[key.decode().rpartition(":")[2]] = decode(client.get(key))
    return dict(sorted(found.items()))


def _differences(outputs: Outputs, worker: WorkerThread, shown: dict[str, dict[str, Any]]) -> Iterator[str]:
    """What is not as the story must give it."""
    from contracts.decision import encode
    from worker.story import DEAD_LETTERS, OUTCOMES, STALE

    for outcome in OUTCOMES:
        name = f"{outcome.tenant}/{outcome.run}"
        states = outputs.states(outcome.tenant, outcome.run)
        if states != outcome.states:
            yield f"{name}: expected the states {_path(outcome.states)}, got {_path(states)}"
        published = outputs.documents.get(name)
        stored = encode(shown[name]) if name in shown else None
        if published != stored:
            yield f"{name}: what Redis shows is not what was published"
    unknown = shown.keys() - {f"{outcome.tenant}/{outcome.run}" for outcome in OUTCOMES}
    for name in sorted(unknown):
        yield f"{name}: expected no such restore"
    if tuple(outputs.letters) != DEAD_LETTERS:
        yield f"dead letters: expected {', '.join(DEAD_LETTERS)}, got {', '.join(outputs.letters) or 'none'}"
    if worker.records()["stale"] != STALE:
        yield f"records without effect: expected {STALE}, got {worker.records()['stale']}"


def _path(states: tuple[str | None, ...]) -> str:
    return " → ".join(state or "removed" for state in states) or "none"
