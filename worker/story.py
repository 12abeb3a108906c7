"""The story that `demo` plays: fifteen restores of four tenants, through all seven states, told by three kinds of rows.

`STORY` is what happens, in order; `OUTCOMES` is what must come of it. Sequences count by themselves where a
step gives none, and times are those of the telling: nothing in here is older or newer than the moment it is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from contracts.decision import State
from contracts.facts import Entity
from contracts.letters import Reason
from contracts.topics import Topics
from worker.sources import Data, Form, InputRecord, SourceEvent, input_record, operation_data, run_data, snapshot_data

EXPIRES_AFTER_MS: Final = 2_500
"""How long the one snapshot that expires lives: long enough to be seen, short enough to be waited for."""


@dataclass(frozen=True, slots=True)
class Fact:
    """An entity's state after a change, in the words that are shown. `data`: time of telling → fields; None: deleted.

    `sequence` is given only where the step comes out of order.
    """

    entity: Entity
    id: str
    words: str
    data: Callable[[int], Data] | None
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Repeat:
    """A record that was sent already, once more."""

    entity: Entity
    id: str
    sequence: int
    words: str


@dataclass(frozen=True, slots=True)
class Broken:
    """A record that is no event, on the topic of an entity and with the headers of one."""

    entity: Entity
    id: str
    words: str
    value: bytes
    sequence: int = 1


@dataclass(frozen=True, slots=True)
class Step:
    """One record of a tenant; `note` says what is remarkable about it."""

    tenant: str
    what: Fact | Repeat | Broken
    note: str = ""
    form: Form = "binary"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What must come of a restore: the states that it goes through; None at the end: it is removed."""

    tenant: str
    run: str
    states: tuple[State | None, ...]


def run(
    number: int,
    status: str,
    operation: int | None = None,
    *,
    dry_run: bool = False,
    counts: Mapping[str, int] | None = None,
    attention: str | None = None,
) -> Fact:
    named = None if operation is None else f"op-{operation}"
    words = status.replace("_", " ") + (f" ({named})" if named else "") + (", a dry run" if dry_run else "")
    if counts:
        words += f", {counts['succeeded']} of {counts['total']} items"
    return Fact(
        "restore_run",
        f"rr-{number}",
        words,
        lambda at: run_data(status, at, operation=named, dry_run=dry_run, counts=counts, attention=attention),
    )


def operation(number: int, status: str, outcome: str | None = None, *, sequence: int | None = None) -> Fact:
    words = status if outcome is None else f"{status}: {outcome.replace('_', ' ')}"
    return Fact(
        "operation_run",
        f"op-{number}",
        words,
        lambda at: operation_data(status, outcome, completed_at=at if status == "completed" else None),
        sequence,
    )


def evidence(number: int, status: str, of: int, *, expires_after_ms: int | None = None) -> Fact:
    words = f"{status}, of op-{of}"
    if expires_after_ms is not None:
        words += f", for {expires_after_ms / 1000:.1f} s"
    return Fact(
        "evidence_snapshot",
        f"es-{number}",
        words,
        lambda at: snapshot_data(
            status,
            operation=f"op-{of}",
            generated_at=at if status == "active" else None,
            expires_at=None if expires_after_ms is None else at + expires_after_ms,
        ),
    )


def deleted(entity: Entity, id: str) -> Fact:
    return Fact(entity, id, "deleted", None)


def all_of(count: int) -> Mapping[str, int]:
    return {"total": count, "succeeded": count, "failed": 0}


# A newer event of a snapshot that was active, with a status that the contract does not know.
_UNKNOWN_STATUS: Final = b'{"id":"es-713","tenant_id":"aurora","operation_run_id":"op-514","status":"verified"}'

_PREPARED: Final[tuple[State, ...]] = ("not_executed", "in_progress")

STORY: Final = (
    # The good end: prepared, executed, proven. Each kind of row tells its part.
    Step("aurora", run(101, "draft")),
    Step("aurora", run(101, "previewed")),
    Step("aurora", run(101, "queued", 501)),
    Step("aurora", operation(501, "running")),
    Step("aurora", run(101, "running", 501)),
    # Others begin meanwhile.
    Step("borealis", run(103, "previewed"), form="debezium"),
    Step("aurora", run(107, "draft", dry_run=True)),
    Step("borealis", run(103, "queued", 503), form="debezium"),
    Step("borealis", operation(503, "running"), form="debezium"),
    Step("aurora", operation(501, "completed", "succeeded")),
    Step("aurora", run(101, "completed", 501, counts=all_of(12))),
    Step("aurora", evidence(701, "generating", of=501)),
    Step("aurora", evidence(701, "active", of=501), "the proof is there"),
    Step("aurora", Repeat("restore_run", "rr-101", 4, "running (op-501)"), "a late duplicate"),
    # Partly applied: what came of it has to be looked at.
    Step("borealis", operation(503, "completed", "partially_succeeded"), form="debezium"),
    Step(
        "borealis",
        run(103, "partial", 503, counts={"total": 12, "succeeded": 9, "failed": 2, "skipped": 1}, attention="partial"),
        form="debezium",
    ),
    # The run's own record says completed. Its operation says otherwise.
    Step("borealis", run(104, "previewed")),
    Step("borealis", run(104, "queued", 504)),
    Step("borealis", operation(504, "running")),
    Step("borealis", run(104, "completed", 504, counts=all_of(8), attention="completed"), "but op-504 still runs"),
    Step("borealis", operation(504, "completed", "failed"), "two rows contradict each other"),
    # Evidence that will expire.
    Step("cirrus", run(111, "previewed"), form="structured"),
    Step("cirrus", run(111, "queued", 511), form="structured"),
    Step("cirrus", operation(511, "completed", "succeeded"), form="structured"),
    Step("cirrus", run(111, "completed", 511, counts=all_of(5)), form="structured"),
    Step(
        "cirrus",
        evidence(711, "active", of=511, expires_after_ms=EXPIRES_AFTER_MS),
        "will expire",
        form="structured",
    ),
    # Not executed: a dry run, and a preview that nobody went on with.
    Step("aurora", run(107, "running", dry_run=True)),
    Step("aurora", run(107, "completed", dry_run=True)),
    Step("delta", run(108, "draft")),
    Step("delta", run(108, "previewed")),
    # Out of order: operation and evidence are there before the run that they belong to.
    Step("borealis", operation(510, "completed", "succeeded", sequence=2), "no run names it yet"),
    Step("borealis", evidence(710, "active", of=510)),
    Step("borealis", operation(510, "running", sequence=1), "out of order"),
    Step("borealis", run(110, "completed", 510, counts=all_of(3)), "what came before is found"),
    # Stopped: by a blocker, and by somebody.
    Step("cirrus", run(105, "previewed")),
    Step("cirrus", run(105, "queued", 505)),
    Step("cirrus", operation(505, "completed", "blocked")),
    Step("cirrus", run(106, "draft")),
    Step("cirrus", run(106, "cancelled")),
    # Blocked first, then executed by another operation.
    Step("delta", run(112, "previewed")),
    Step("delta", run(112, "queued", 512)),
    Step("delta", operation(512, "completed", "blocked")),
    Step("delta", run(112, "queued", 513), "a relink: another operation"),
    Step("delta", operation(513, "running")),
    Step("delta", operation(513, "completed", "succeeded")),
    Step("delta", run(112, "completed", 513, counts=all_of(20))),
    Step("delta", evidence(712, "active", of=513)),
    # Proven, until something comes that cannot be read.
    Step("aurora", run(113, "previewed")),
    Step("aurora", run(113, "queued", 514)),
    Step("aurora", operation(514, "completed", "succeeded")),
    Step("aurora", run(113, "completed", 514, counts=all_of(7))),
    Step("aurora", evidence(713, "active", of=514)),
    Step(
        "aurora", Broken("evidence_snapshot", "es-713", "an unknown status", _UNKNOWN_STATUS, sequence=2), "malformed"
    ),
    Step("delta", Broken("restore_run", "?", "half a record", b'{"id":"rr-1'), "malformed"),
    # Still to be proven, still running, to be followed up, and gone.
    Step("aurora", run(102, "previewed")),
    Step("aurora", run(102, "queued", 502)),
    Step("aurora", operation(502, "completed", "succeeded")),
    Step("aurora", run(102, "completed", 502, counts=all_of(4))),
    Step("aurora", evidence(702, "generating", of=502)),
    Step("delta", run(115, "previewed")),
    Step("delta", run(115, "queued", 515)),
    Step("delta", operation(515, "completed", "succeeded")),
    Step("delta", run(115, "completed_with_errors", 515, counts={"total": 9, "succeeded": 7, "skipped": 2})),
    Step("delta", evidence(715, "active", of=515), "evidence excuses nothing"),
    Step("borealis", run(114, "draft")),
    Step("borealis", deleted("restore_run", "rr-114")),
    Step("delta", run(109, "previewed")),
    Step("delta", run(109, "queued", 509)),
    Step("delta", operation(509, "running")),
    Step("delta", run(109, "running", 509)),
)

OUTCOMES: Final = (
    Outcome("aurora", "rr-101", (*_PREPARED, "completed_proof_incomplete", "completed_with_evidence")),
    Outcome("aurora", "rr-102", (*_PREPARED, "completed_proof_incomplete")),
    Outcome("aurora", "rr-107", ("not_executed",)),
    Outcome(
        "aurora",
        "rr-113",
        (*_PREPARED, "completed_proof_incomplete", "completed_with_evidence", "completed_proof_incomplete"),
    ),
    Outcome("borealis", "rr-103", (*_PREPARED, "needs_review")),
    Outcome("borealis", "rr-104", (*_PREPARED, "failed")),
    Outcome("borealis", "rr-110", ("completed_with_evidence",)),
    Outcome("borealis", "rr-114", ("not_executed", None)),
    Outcome("cirrus", "rr-105", (*_PREPARED, "blocked_or_cancelled")),
    Outcome("cirrus", "rr-106", ("not_executed", "blocked_or_cancelled")),
    Outcome(
        "cirrus",
        "rr-111",
        (*_PREPARED, "completed_proof_incomplete", "completed_with_evidence", "completed_proof_incomplete"),
    ),
    Outcome("delta", "rr-108", ("not_executed",)),
    Outcome("delta", "rr-109", _PREPARED),
    Outcome(
        "delta",
        "rr-112",
        (*_PREPARED, "blocked_or_cancelled", "in_progress", "completed_proof_incomplete", "completed_with_evidence"),
    ),
    Outcome("delta", "rr-115", (*_PREPARED, "needs_review")),
)

STALE: Final = 2
"""Records without effect: the late duplicate, and the one out of order."""
DEAD_LETTERS: Final[tuple[Reason, ...]] = ("schema_violation", "not_json")
EXPIRIES: Final = 1
EXPLAINED: Final = ("borealis", "rr-104")
"""The restore that is explained in the end, and why this one: no single row tells how it went."""


@dataclass(slots=True)
class Teller:
    """Turns steps into records, keeping count of sequences and of what was sent."""

    topics: Topics
    _sequences: Counter[tuple[str, Entity, str]] = field(default_factory=Counter)
    _sent: dict[tuple[str, Entity, str, int], InputRecord] = field(default_factory=dict)

    def record(self, step: Step, now: int) -> InputRecord:
        """The step's record as told at `now`, in ms since the epoch."""
        what = step.what
        entity = (step.tenant, what.entity, what.id)
        match what:
            case Repeat():
                return self._sent[*entity, what.sequence]
            case Broken():
                valid = input_record(
                    SourceEvent(what.entity, step.tenant, what.id, what.sequence, {}, now), "binary", self.topics
                )
                return replace(valid, value=what.value)
            case Fact():
                sequence = what.sequence or self._sequences[entity] + 1
                self._sequences[entity] = sequence
                data = None if what.data is None else what.data(now)
                event = SourceEvent(what.entity, step.tenant, what.id, sequence, data, now)
                record = self._sent[*entity, sequence] = input_record(event, step.form, self.topics)
                return record
