"""Realistic input traffic: many tenants' restores, each a life of its own, as a platform would report them.

A life is a generator of events: what a restore goes through, told by the clock of the simulation. Lives run beside
each other, a record every 1/rate seconds, and a life's records are at least `SPACING_MS` apart, so that their order is
the same by time as by offset. Sources are not perfect: some records come twice, late or in the wrong order, some
are tombstones and, if asked for, some are malformed.

All is decided by the seed: the same seed, number of runs and start give the same records in the same order. A second
run of the same seed sends ids and sequences that were seen before, so nothing changes by it.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from contracts.facts import Entity
from contracts.topics import Topics
from worker.sources import (
    FORMS,
    Data,
    Form,
    InputRecord,
    SourceEvent,
    input_record,
    operation_data,
    run_data,
    snapshot_data,
)

SPACING_MS: Final = 150
"""Between two records of a restore; above the 100 ms for which order across topics is promised."""
MEAN_PAUSE_MS: Final = 300
"""What a life waits on average besides."""
LIVES_PER_RATE: Final = 0.6
"""Lives at a time for each record a second: as many as keep the rate with the waits above."""
FORM_WEIGHTS: Final[dict[Form, int]] = {"binary": 70, "structured": 15, "debezium": 15}
DUPLICATES: Final = 0.03
LATE: Final = 0.02
SWAPPED: Final = 0.03
TOMBSTONES: Final = 0.005
MALFORMED: Final = 0.02
"""Shares of the records that are not an event in its place."""

Kind = Literal["event", "duplicate", "late", "swapped", "tombstone", "malformed"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to simulate. `rate`: records a second; `start`: in ms since the epoch."""

    runs: int
    rate: float
    seed: int
    tenants: int
    malformed: bool
    start: int


@dataclass(frozen=True, slots=True)
class Planned:
    """A record and when it is to be sent, in ms from the start. `finished`: restores that are over with it."""

    at: int
    record: InputRecord
    kind: Kind
    form: Form
    finished: int


@dataclass(slots=True)
class Life:
    """A restore as its source knows it. `now` is the simulation's clock, in ms since the epoch."""

    rng: random.Random
    tenant: str
    number: str
    form: Form
    now: int = 0
    operation_number: int = 1
    sequences: Counter[tuple[Entity, str]] = field(default_factory=Counter)
    counts: dict[str, int] = field(default_factory=dict)
    started_at: int | None = None
    completed_at: int | None = None

    @property
    def operation_id(self) -> str:
        return f"op-{self.number}-{self.operation_number}"

    def run(
        self, status: str, *, linked: bool = True, dry_run: bool = False, attention: str | None = None
    ) -> SourceEvent:
        operation = self.operation_id if linked else None
        data = run_data(status, self.now, operation=operation, dry_run=dry_run, counts=self.counts, attention=attention)
        return self._event("restore_run", f"rr-{self.number}", data)

    def operation(self, status: str, outcome: str | None = None) -> SourceEvent:
        if status == "running":
            self.started_at = self.now
        if status == "completed":
            self.completed_at = self.now
        data = operation_data(status, outcome, started_at=self.started_at, completed_at=self.completed_at)
        return self._event("operation_run", self.operation_id, data)

    def snapshot(self, status: str, *, number: int = 1, lives_ms: int | None = None) -> SourceEvent:
        expires_at = None if lives_ms is None else self.now + lives_ms
        generated_at = None if status in {"queued", "generating"} else self.now
        data = snapshot_data(status, operation=self.operation_id, generated_at=generated_at, expires_at=expires_at)
        return self._event("evidence_snapshot", f"es-{self.number}-{number}", data)

    def delete(self, entity: Entity) -> SourceEvent:
        ids = {"restore_run": f"rr-{self.number}", "operation_run": self.operation_id}
        return self._event(entity, ids.get(entity, f"es-{self.number}-1"), None)

    def _event(self, entity: Entity, id: str, data: Data | None) -> SourceEvent:
        self.sequences[entity, id] += 1
        return SourceEvent(entity, self.tenant, id, self.sequences[entity, id], data, self.now)


Story = Iterator[SourceEvent]


def _prepared(life: Life) -> Story:
    yield life.run("draft", linked=False)
    for status in ("scoped", "checked"):
        if life.rng.random() < 0.5:
            yield life.run(status, linked=False)
    yield life.run("previewed", linked=False)


def _executing(life: Life) -> Story:
    yield life.run("queued")
    if life.rng.random() < 0.5:
        yield life.operation("queued", "pending")
    yield life.operation("running", "pending")
    yield life.run("running")


def _items(life: Life, **bad: int) -> None:
    total = life.rng.randint(sum(bad.values()) + 1, 60)
    life.counts = {"total": total, "succeeded": total - sum(bad.values()), **bad}


def _completed(life: Life) -> Story:
    yield from _prepared(life)
    yield from _executing(life)
    _items(life)
    yield life.operation("completed", "succeeded")
    yield life.run("completed", attention="completed")


def proven(life: Life) -> Story:
    yield from _completed(life)
    if life.rng.random() < 0.6:
        yield life.snapshot("generating")
    yield life.snapshot("active", lives_ms=life.rng.choice((None, 30 * 24 * 3600 * 1000)))


def unproven(life: Life) -> Story:
    yield from _completed(life)


def expiring(life: Life) -> Story:
    yield from _completed(life)
    yield life.snapshot("active", lives_ms=life.rng.randint(2_000, 20_000))


def superseded(life: Life) -> Story:
    yield from proven(life)
    yield life.snapshot("active", number=2)
    yield life.snapshot("superseded")


def evidence_failed(life: Life) -> Story:
    yield from _completed(life)
    yield life.snapshot("generating")
    yield life.snapshot("failed")


def partial(life: Life) -> Story:
    yield from _prepared(life)
    yield from _executing(life)
    _items(life, failed=life.rng.randint(1, 3), skipped=life.rng.randint(0, 2))
    yield life.operation("completed", "partially_succeeded")
    yield life.run("partial", attention="partial")
    if life.rng.random() < 0.4:
        yield life.snapshot("active")


def follow_up(life: Life) -> Story:
    yield from _prepared(life)
    yield from _executing(life)
    _items(life, skipped=life.rng.randint(1, 4))
    yield life.operation("completed", "succeeded")
    yield life.run("completed_with_errors", attention="completed_with_follow_up")


def failed(life: Life) -> Story:
    yield from _prepared(life)
    yield from _executing(life)
    yield life.operation("completed", "failed")
    if life.rng.random() < 0.8:  # else the run's own record never follows
        yield life.run("failed", attention="failed")


def blocked(life: Life) -> Story:
    yield from _prepared(life)
    yield life.run("queued")
    yield life.operation("completed", "blocked")


def blocked_and_retried(life: Life) -> Story:
    yield from blocked(life)
    life.operation_number, life.completed_at = 2, None
    yield from _executing(life)
    _items(life)
    yield life.operation("completed", "succeeded")
    yield life.run("completed", attention="completed")
    yield life.snapshot("active")


def cancelled(life: Life) -> Story:
    yield from _prepared(life)
    yield life.run("cancelled", linked=False)


def dry_run(life: Life) -> Story:
    for status in ("draft", "queued", "running"):
        yield life.run(status, linked=False, dry_run=True)
    life.counts = {"total": life.rng.randint(1, 60)}
    yield life.run("completed", linked=False, dry_run=True)


def never_executed(life: Life) -> Story:
    yield from _prepared(life)


def deleted(life: Life) -> Story:
    yield from proven(life)
    yield life.delete("evidence_snapshot")
    yield life.delete("operation_run")
    yield life.delete("restore_run")


LIVES: Final[dict[Callable[[Life], Story], int]] = {
    proven: 30, unproven: 12, expiring: 6, superseded: 5, evidence_failed: 3, partial: 10, follow_up: 6, failed: 9,
    blocked: 3, blocked_and_retried: 3, cancelled: 4, dry_run: 4, never_executed: 3, deleted: 2,
}  # fmt: skip
"""What restores go through, of a hundred."""


def traffic(plan: Plan, topics: Topics) -> Iterator[Planned]:
    """The records of a plan, in the order and at the times of sending."""
    rng = random.Random(plan.seed)  # noqa: S311  reproducible, not secret
    births = _births(plan, rng)
    at_a_time = max(10, round(plan.rate * LIVES_PER_RATE))
    waiting: list[tuple[float, int, Life, Iterator[_Record]]] = []
    order = itertools.count()
    clock = 0.0
    while True:
        if not waiting or (waiting[0][0] > clock and len(waiting) < at_a_time):
            born = next(births, None)
            if born is not None:
                heapq.heappush(waiting, (clock, next(order), born, _records(born, plan, topics, rng)))
            elif not waiting:
                return
        due, _, life, records = heapq.heappop(waiting)
        clock = max(clock, due)
        life.now = plan.start + round(clock)
        record, kind, is_last = next(records)
        if not is_last:
            pause = SPACING_MS + rng.expovariate(1 / MEAN_PAUSE_MS)
            heapq.heappush(waiting, (clock + pause, next(order), life, records))
        yield Planned(round(clock), record, kind, life.form, finished=int(is_last))
        clock += 1000 / plan.rate


def _births(plan: Plan, rng: random.Random) -> Iterator[Life]:
    """Some tenants are busier than others: the n-th has 1/n of the first one's restores."""
    tenants = [f"tenant-{number:03d}" for number in range(1, plan.tenants + 1)]
    weights = [1 / number for number in range(1, plan.tenants + 1)]
    forms, shares = FORMS, [FORM_WEIGHTS[form] for form in FORMS]
    for number in range(1, plan.runs + 1):
        tenant = rng.choices(tenants, weights)[0]
        form = rng.choices(forms, shares)[0]
        yield Life(rng, tenant, f"{plan.seed}-{number:06d}", form)


_Record = tuple[InputRecord, Kind, bool]


def _records(life: Life, plan: Plan, topics: Topics, rng: random.Random) -> Iterator[_Record]:
    """A life's records with the faults of its source; True with the last."""
    story = rng.choices(list(LIVES), list(LIVES.values()))[0]
    pending: tuple[InputRecord, Kind] | None = None
    for record, kind in _with_faults(story(life), life, plan, topics, rng):
        if pending is not None:
            yield *pending, False
        pending = (record, kind)
    assert pending is not None, "every life has an event"
    yield *pending, True


def _with_faults(
    story: Story, life: Life, plan: Plan, topics: Topics, rng: random.Random
) -> Iterator[tuple[InputRecord, Kind]]:
    sent: list[InputRecord] = []
    held: InputRecord | None = None
    for event in story:
        record = input_record(event, life.form, topics)
        if held is None and sent and rng.random() < SWAPPED:
            held = record
            continue
        yield record, "event"
        sent.append(record)
        if held is not None:
            yield held, "swapped"
            sent.append(held)
            held = None
        yield from _extras(record, sent, plan, rng)
    if held is not None:
        yield held, "event"


def _extras(
    record: InputRecord, sent: list[InputRecord], plan: Plan, rng: random.Random
) -> Iterator[tuple[InputRecord, Kind]]:
    if rng.random() < DUPLICATES:
        yield record, "duplicate"
    if rng.random() < LATE:
        yield rng.choice(sent), "late"
    if rng.random() < TOMBSTONES:
        yield replace(record, value=None, headers=()), "tombstone"
    if plan.malformed and rng.random() < MALFORMED:
        yield rng.choice(BREAKAGES)(record), "malformed"


def _cut(record: InputRecord) -> InputRecord:
    assert record.value is not None
    return replace(record, value=record.value[: len(record.value) // 2])


def _foreign_key(record: InputRecord) -> InputRecord:
    return replace(record, key=b"tenant-of-nobody")


def _unknown_status(record: InputRecord) -> InputRecord:
    assert record.value is not None
    return replace(record, value=record.value.replace(b'"status":"', b'"status":"un'))


def _no_event(record: InputRecord) -> InputRecord:
    return replace(record, value=b'{"hello":"world"}', headers=())


BREAKAGES: Final = (_cut, _foreign_key, _unknown_status, _no_event)
"""Ways in which a record is malformed: not JSON, another tenant's key, a value that does not exist, not an event."""


@dataclass(slots=True)
class Sent:
    """What was sent so far."""

    records: int = 0
    finished: int = 0
    topics: Counter[str] = field(default_factory=Counter)
    kinds: Counter[Kind] = field(default_factory=Counter)
    forms: Counter[Form] = field(default_factory=Counter)
    tenants: set[str] = field(default_factory=set)

    def count(self, planned: Planned) -> None:
        self.records += 1
        self.finished += planned.finished
        self.topics[planned.record.topic] += 1
        self.kinds[planned.kind] += 1
        self.forms[planned.form] += 1
        self.tenants.add(planned.record.tenant_id)


def send_in_time(
    planned: Iterator[Planned],
    send: Callable[[InputRecord], None],
    sent: Sent,
    *,
    monotonic: Callable[[], float],
    sleep: Callable[[float], None],
) -> Iterator[Planned]:
    """Send each record when it is due, count it in `sent`, and yield it.

    Who falls behind stays behind: catching up would bring a restore's records nearer together than planned.
    """
    began = monotonic()
    for record in planned:
        early = began + record.at / 1000 - monotonic()
        if early > 0:
            sleep(early)
        else:
            began -= early
        send(record.record)
        sent.count(record)
        yield record
