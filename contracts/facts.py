"""The three entities whose facts a decision is made from, and their JSON.

Facts are what the sources said, not what follows from it. They are frozen, carry the sequence and the
place in Kafka that they came from, and are written into every state document (`diagnostics.inputs`), so that a document
alone is enough to decide again and to restore the store.

Times are integers, milliseconds since the epoch; on the wire they are `YYYY-MM-DDTHH:MM:SS.mmmZ`.
`None` always means "not known", never zero or false.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

from contracts.times import format_time, parse_time

RunStatus = Literal[
    "draft", "scoped", "checked", "previewed", "queued", "running",
    "completed", "partial", "completed_with_errors", "failed", "cancelled",
]  # fmt: skip
AttentionState = Literal["completed", "completed_with_follow_up", "partial", "failed", "not_executed"]
"""Ordered from good to bad; the order is the rule (interfaces, section 5)."""
OperationStatus = Literal["queued", "running", "completed"]
Outcome = Literal["pending", "succeeded", "partially_succeeded", "failed", "blocked", "cancelled"]
SnapshotStatus = Literal["queued", "generating", "active", "superseded", "expired", "failed"]
Entity = Literal["restore_run", "operation_run", "evidence_snapshot"]

RUN_STATUSES: tuple[RunStatus, ...] = get_args(RunStatus)
ATTENTION_STATES: tuple[AttentionState, ...] = get_args(AttentionState)
OPERATION_STATUSES: tuple[OperationStatus, ...] = get_args(OperationStatus)
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
SNAPSHOT_STATUSES: tuple[SnapshotStatus, ...] = get_args(SnapshotStatus)
ENTITIES: tuple[Entity, ...] = get_args(Entity)

COUNT_NAMES = ("total", "succeeded", "failed", "skipped", "partial", "non_applied")

MAX_SEQUENCE = 2**63 - 1
"""The largest sequence: a PostgreSQL bigint, which a `revision` column and an LSN both are."""


class Source(NamedTuple):
    """Where in Kafka a fact came from: topic, partition, offset, and the record's timestamp in ms."""

    topic: str
    partition: int
    offset: int
    timestamp: int


class Counts(NamedTuple):
    """Item counts of a restore; each ≥ 0, or None where the source did not say."""

    total: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    skipped: int | None = None
    partial: int | None = None
    non_applied: int | None = None


NO_COUNTS = Counts()


class RestoreRun(NamedTuple):
    """A restore run as its source last described it."""

    id: str
    tenant_id: str
    status: RunStatus
    is_dry_run: bool
    operation_run_id: str | None = None
    counts: Counts = NO_COUNTS
    attention: AttentionState | None = None
    updated_at: int | None = None
    sequence: int | None = None
    source: Source | None = None


class OperationRun(NamedTuple):
    """An operation run. When `deleted`, the fields are the last ones known; `status` is None only if none ever were."""

    id: str
    tenant_id: str
    status: OperationStatus | None
    outcome: Outcome | None = None
    started_at: int | None = None
    completed_at: int | None = None
    deleted: bool = False
    sequence: int | None = None
    source: Source | None = None


class EvidenceSnapshot(NamedTuple):
    """An evidence snapshot. `expired` is the fact that stream time passed `expires_at` while it was active."""

    id: str
    tenant_id: str
    status: SnapshotStatus
    operation_run_id: str | None = None
    generated_at: int | None = None
    expires_at: int | None = None
    expired: bool = False
    sequence: int | None = None
    source: Source | None = None


class Facts(NamedTuple):
    """All that one decision depends on.

    `operation` is the operation that the run names: None if it names none or that one was never seen.
    `evidence` holds that operation's kept snapshots, in any order. `unreadable` names the entities, as
    `<entity>/<id>`, whose newest event could not be read (interfaces, section 7), sorted.
    """

    run: RestoreRun
    operation: OperationRun | None = None
    evidence: tuple[EvidenceSnapshot, ...] = ()
    unreadable: tuple[str, ...] = ()


# JSON. `to_json` gives the fields of interfaces, section 3, always all of them and in one order, so that
# equal facts are equal bytes. `…_from_json` reads what `to_json` wrote and trusts it: it is for
# our own documents; what others write is validated in `contracts.wire`.


def _time_to_json(at: int | None) -> str | None:
    return None if at is None else format_time(at)


def _time_from_json(text: str | None) -> int | None:
    return None if text is None else parse_time(text)


def _source_to_json(source: Source | None) -> dict[str, Any] | None:
    if source is None:
        return None
    return {
        "topic": source.topic,
        "partition": source.partition,
        "offset": source.offset,
        "timestamp": source.timestamp,
    }


def _source_from_json(value: dict[str, Any] | None) -> Source | None:
    if value is None:
        return None
    return Source(value["topic"], value["partition"], value["offset"], value["timestamp"])


def counts_to_json(counts: Counts) -> dict[str, int | None]:
    """All six counts by name, null where unknown."""
    return {name: getattr(counts, name) for name in COUNT_NAMES}


def run_to_json(run: RestoreRun) -> dict[str, Any]:
    return {
        "id": run.id,
        "tenant_id": run.tenant_id,
        "status": run.status,
        "is_dry_run": run.is_dry_run,
        "operation_run_id": run.operation_run_id,
        "metadata": {"counts": counts_to_json(run.counts)},
        "result_attention": None if run.attention is None else {"state": run.attention},
        "updated_at": _time_to_json(run.updated_at),
        "sequence": run.sequence,
        "source": _source_to_json(run.source),
    }


def run_from_json(value: dict[str, Any]) -> RestoreRun:
    attention = value["result_attention"]
    return RestoreRun(
        id=value["id"],
        tenant_id=value["tenant_id"],
        status=value["status"],
        is_dry_run=value["is_dry_run"],
        operation_run_id=value["operation_run_id"],
        counts=Counts(**value["metadata"]["counts"]),
        attention=None if attention is None else attention["state"],
        updated_at=_time_from_json(value["updated_at"]),
        sequence=value["sequence"],
        source=_source_from_json(value["source"]),
    )


def operation_to_json(operation: OperationRun) -> dict[str, Any]:
    return {
        "id": operation.id,
        "tenant_id": operation.tenant_id,
        "status": operation.status,
        "outcome": operation.outcome,
        "started_at": _time_to_json(operation.started_at),
        "completed_at": _time_to_json(operation.completed_at),
        "deleted": operation.deleted,
        "sequence": operation.sequence,
        "source": _source_to_json(operation.source),
    }


def operation_from_json(value: dict[str, Any]) -> OperationRun:
    return OperationRun(
        id=value["id"],
        tenant_id=value["tenant_id"],
        status=value["status"],
        outcome=value["outcome"],
        started_at=_time_from_json(value["started_at"]),
        completed_at=_time_from_json(value["completed_at"]),
        deleted=value["deleted"],
        sequence=value["sequence"],
        source=_source_from_json(value["source"]),
    )


def snapshot_to_json(snapshot: EvidenceSnapshot) -> dict[str, Any]:
    return {
        "id": snapshot.id,
        "tenant_id": snapshot.tenant_id,
        "operation_run_id": snapshot.operation_run_id,
        "status": snapshot.status,
        "generated_at": _time_to_json(snapshot.generated_at),
        "expires_at": _time_to_json(snapshot.expires_at),
        "expired": snapshot.expired,
        "sequence": snapshot.sequence,
        "source": _source_to_json(snapshot.source),
    }


def snapshot_from_json(value: dict[str, Any]) -> EvidenceSnapshot:
    return EvidenceSnapshot(
        id=value["id"],
        tenant_id=value["tenant_id"],
        operation_run_id=value["operation_run_id"],
        status=value["status"],
        generated_at=_time_from_json(value["generated_at"]),
        expires_at=_time_from_json(value["expires_at"]),
        expired=value["expired"],
        sequence=value["sequence"],
        source=_source_from_json(value["source"]),
    )


def facts_to_json(facts: Facts) -> dict[str, Any]:
    """`diagnostics.inputs` of a state document: evidence sorted by id."""
    return {
        "restore_run": run_to_json(facts.run),
        "operation_run": None if facts.operation is None else operation_to_json(facts.operation),
        "evidence_snapshots": [snapshot_to_json(s) for s in sorted(facts.evidence, key=lambda s: s.id)],
        "unreadable": list(facts.unreadable),
    }


def facts_from_json(value: dict[str, Any]) -> Facts:
    operation = value["operation_run"]
    return Facts(
        run=run_from_json(value["restore_run"]),
        operation=None if operation is None else operation_from_json(operation),
        evidence=tuple(snapshot_from_json(s) for s in value["evidence_snapshots"]),
        unreadable=tuple(value["unreadable"]),
    )
