"""A broker, a store and a clock in memory, workers on them, and input that tests send: a whole installation.

`settle` turns the workers until nothing is left to do; `assert_consistent` then holds everything that was published
and stored against the pure fold of the whole input (tests.consistency).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, Final

from contracts.decision import decode
from contracts.events import Record
from contracts.facts import ENTITIES, Entity
from contracts.ids import partition_of
from contracts.times import format_time
from projections.inputs import InputDecoder
from projections.record import Key
from projections.rules import UNFINISHED
from tests.consistency.fold import Folded, fold
from tests.contracts.records import PARTITIONS, binary, state
from tests.worker.fakes import TOPICS, Broker, Copy, FakeClock, FakeLog, FakeStore, Notes
from worker.loop import IDLE_DELAY_MS, Limits, Worker
from worker.partition import Phase

INPUTS: Final = InputDecoder(TOPICS, PARTITIONS, "murmur2")
TENANTS: Final[dict[int, str]] = {
    number: next(t for t in (f"t-{i}" for i in count(1)) if partition_of(t, PARTITIONS, "murmur2") == number)
    for number in range(PARTITIONS)
}
"""A tenant of each partition."""
PROVEN: Final = ["completed_proof_incomplete", "completed_with_evidence"]
"""The states that `Site.send_restore` leads through."""
RUNS, OPERATIONS, SNAPSHOTS = TOPICS.restore_runs, TOPICS.operation_runs, TOPICS.evidence_snapshots


def at(ms: int) -> str:
    """A moment as events write it."""
    return format_time(ms)


class Running:
    """A worker with its own view of the log and what it has told."""

    def __init__(self, site: Site, partitions: Iterable[int], name: str, limits: Limits | None) -> None:
        self.log = FakeLog(site.broker, site.clock, partitions, name)
        self.notes = Notes()
        self.worker = Worker(self.log, site.store, site.clock, INPUTS, TOPICS, self.notes, limits)

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.worker.turn()

    @property
    def phases(self) -> dict[int, Phase]:
        return {p.number: p.phase for p in self.worker.partitions}

    @property
    def runs(self) -> bool:
        """Whether it owns something, and all of that runs or was stopped."""
        return bool(self.phases) and set(self.phases.values()) <= {Phase.RUNNING, Phase.STOPPED}


class Site:
    """One broker, one store, one clock."""

    def __init__(self) -> None:
        self.broker = Broker()
        self.store = FakeStore()
        self.clock = FakeClock()

    def worker(self, partitions: Iterable[int] = (0,), *, name: str = "w", limits: Limits | None = None) -> Running:
        """A new worker, which has not turned yet."""
        return Running(self, partitions, name, limits)

    def started(self, partitions: Iterable[int] = (0,), *, name: str = "w", limits: Limits | None = None) -> Running:
        """A new worker that has taken its partitions over."""
        running = self.worker(partitions, name=name, limits=limits)
        self.until(lambda: running.runs, running)
        return running

    # Input

    def send(
        self,
        entity: Entity = "restore_run",
        sequence: int = 1,
        *,
        partition: int = 0,
        verb: str = "changed",
        ago_ms: int = 0,
        transaction: object = None,
        **fields: Any,
    ) -> Record:
        """Write an event of the partition's tenant, stamped now or that long ago; returns it as it lies there."""
        tenant = TENANTS[partition]
        data = state(entity, **{"tenant_id": tenant, **fields})
        if verb == "deleted":
            data = {name: data[name] for name in ("id", "tenant_id")}
        record = binary(data, entity=entity, verb=verb, ce_sequence=str(sequence))
        at = self.clock.now_ms() - ago_ms
        return self.broker.append(
            record._replace(partition=partition, key=tenant.encode(), timestamp=at), transaction=transaction
        )

    def send_expiring(self, in_s: float, *, partition: int = 0) -> None:
        """The same restore, with evidence that expires that many seconds after now."""
        self.send_restore(partition=partition, expires_at=at(self.clock.now_ms() + round(in_s * 1000)))

    def send_restore(self, *, partition: int = 0, **fields: Any) -> None:
        """rr-1 of the partition's tenant is completed by op-1, and es-1 is evidence of it: 100 ms apart."""
        for entity in ENTITIES:
            extra = fields if entity == "evidence_snapshot" else {}
            self.send(entity, partition=partition, **extra)
            self.clock.pass_s(0.1)

    # Work

    @staticmethod
    def until(condition: Callable[[], object], *workers: Running, limit: int = 400) -> None:
        """Turn the workers until the condition holds."""
        for _ in range(limit):
            if condition():
                return
            for running in workers:
                running.turn()
        told = [running.notes.told[-6:] for running in workers]
        raise AssertionError(f"it did not hold within {limit} turns; the last that was told: {told}")

    def settle(self, *workers: Running) -> None:
        """Turn the workers until all input is committed and nothing is due."""
        self.until(lambda: self.is_settled(*workers), *workers)

    def is_settled(self, *workers: Running) -> bool:
        return all(running.runs and self._is_done(running) for running in workers)

    def _is_done(self, running: Running) -> bool:
        late = self.clock.now_ms() - IDLE_DELAY_MS
        for partition in running.worker.partitions:
            copy = self.store.copies.get(partition.number)
            if copy is None or copy.status.position != partition.position:
                return False
            if any(due <= late for due in copy.dues.values()):
                return False
            if not all(self._committed(topic, partition.number) for topic in TOPICS.inputs):
                return False
        return True

    def _committed(self, topic: str, number: int) -> bool:
        tp = (topic, number)
        committed = self.broker.committed.get(tp)
        return (0 if committed is None else committed.offset) >= self.broker.end_offset(tp, committed=False)

    # What has come of it

    def document(self, id: str = "rr-1", *, partition: int = 0) -> dict[str, Any]:
        """A run's document, as Kafka has it."""
        return decode(self.broker.latest(TOPICS.decision_state)[f"{TENANTS[partition]}/{id}"])

    def changes(self, *, partition: int | None = None) -> list[dict[str, Any]]:
        """All state changes."""
        records = self.broker.records(TOPICS.decision_changes)
        return [decode(r.value or b"") for r in records if partition in (None, r.partition)]

    def states(self, *, partition: int = 0) -> list[str]:
        """The states that changes led to, in order."""
        return [change["to_state"] for change in self.changes(partition=partition)]

    def letters(self) -> list[str]:
        """The reasons of all dead letters."""
        headers = [dict(record.headers) for record in self.broker.records(TOPICS.dead_letters)]
        return [named["dl_reason"].decode() for named in headers]

    def assert_consistent(self, partitions: Iterable[int] = range(PARTITIONS)) -> None:
        """At rest: Kafka has what the input asks for, each change once, and the store is what Kafka has."""
        for number in partitions:
            folded = self._folded(number)
            self._assert_published(number, folded)
            self._assert_stored(number)

    def _folded(self, number: int) -> Folded:
        log = {(topic, number): self.broker.read((topic, number), 0, 2**40)[0] for topic in TOPICS.inputs}
        committed = [self.broker.committed.get((topic, number)) for topic in TOPICS.inputs]
        stream_time = max((c.stream_time for c in committed if c is not None), default=0)
        return fold(log, TOPICS, number, INPUTS, stream_time)

    def _assert_published(self, number: int, folded: Folded) -> None:
        changes: dict[str, list[bytes | None]] = defaultdict(list)
        for record in self._records(TOPICS.decision_changes, number):
            changes[(record.key or b"").decode()].append(record.value)
        assert changes == {run: [change.value for change in chain] for run, chain in folded.changes.items()}
        ends: dict[str, int] = dict.fromkeys(folded.documents, -1)
        for record in self._records(TOPICS.decision_state, number):
            run = (record.key or b"").decode()
            revision, published = _published(record)
            versions = [(version.revision, version.published.value) for version in folded.documents[run]]
            ends[run] = versions.index((revision, published), ends[run] + 1)
        assert ends == {run: len(versions) - 1 for run, versions in folded.documents.items()}
        internal = {(r.key or b"").decode(): r.value for r in self._records(TOPICS.internal, number)}
        assert {key: value for key, value in internal.items() if value is not None} == folded.internal
        letters = sorted(_source(record) for record in self._records(TOPICS.dead_letters, number))
        assert letters == sorted(folded.letters)

    def _assert_stored(self, number: int) -> None:
        copy = self.store.copies[number]
        state = {(r.key or b"").decode(): r.value for r in self._records(TOPICS.decision_state, number)}
        internal = {(r.key or b"").decode(): r.value for r in self._records(TOPICS.internal, number)}
        last = {key: value for key, value in {**state, **internal}.items() if value is not None}
        assert {str(key): value for key, value in copy.values.items()} == last
        assert {str(key): due for key, due in copy.dues.items()} == {
            key: due for key, value in last.items() if (due := decode(value).get("due")) is not None
        }
        assert {str(key): state for key, (state, _) in copy.index.items()} == {
            key: decode(value)["state"] for key, value in last.items() if key in state
        }
        assert {str(key): entry for key, entry in copy.unfinished.items()} == {
            str(key): entry for key, entry in copy.index.items() if entry[0] in UNFINISHED and not _is_dry(copy, key)
        }
        assert not copy.status.restoring

    def _records(self, topic: str, number: int) -> list[Record]:
        return self.broker.read((topic, number), 0, 2**40)[0]


def _is_dry(copy: Copy, run: Key) -> bool:
    """Of a dry run nothing is awaited, although its state is one in which something may be."""
    return bool(decode(copy.values[run])["diagnostics"]["inputs"]["restore_run"]["is_dry_run"])


def _published(record: Record) -> tuple[int, bytes | None]:
    if record.value is None:
        return int(dict(record.headers)["revision"]), None
    return decode(record.value)["revision"], record.value


def _source(record: Record) -> tuple[str, int, int]:
    headers = dict(record.headers)
    return headers["dl_topic"].decode(), int(headers["dl_partition"]), int(headers["dl_offset"])


def proven() -> tuple[Site, Running]:
    """A worker that has decided a restore of partition 0 and has nothing left to do."""
    site = Site()
    site.send_restore()
    worker = site.started()
    site.settle(worker)
    return site, worker
