"""The output documents as models: for readers, for tests, and for the exported JSON Schemas.

The worker does not build documents from these; it writes plain dictionaries, and tests hold the two together: every
document written validates here, and dumping it again gives the same bytes. Field order is the contract's.

Source: interfaces, section 6; the codes: section 5. A code that is not listed here is a change of the contract.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict

from contracts.decision import FORBIDDEN_CLAIMS, TIMELINE_LENGTH, Direction, Origin, Severity, State
from contracts.facts import (
    MAX_SEQUENCE,
    AttentionState,
    Entity,
    OperationStatus,
    Outcome,
    RunStatus,
    SnapshotStatus,
)
from contracts.ids import ID_PATTERN, is_identifier, run_key
from contracts.times import parse_time
from contracts.wire import MAX_COUNT

CHANGE_TYPE = "restore.decision.changed"

RuleName = Literal[
    "dry_run", "run_failed", "operation_failed", "operation_active", "run_cancelled", "operation_blocked",
    "run_active", "run_behind_operation", "pre_execution", "needs_review", "input_unreadable", "evidence_current",
    "evidence_missing", "operation_unlinked",
]  # fmt: skip
ActionCode = Literal[
    "review_preview", "continue_preparation", "view_operation_progress", "review_restored_details", "open_evidence",
    "review_item_outcomes", "review_failure_details", "review_blocker",
]  # fmt: skip
InconsistencyCode = Literal[
    "operation_not_observed", "operation_deleted", "operation_ahead_of_run", "run_ahead_of_operation",
    "outcome_conflict", "attention_conflict", "evidence_predates_completion", "preview_failed",
    "applied_before_cancellation", "unreadable_input",
]  # fmt: skip
EvidenceCause = Literal["none", "pending", "expired", "superseded", "failed", "predates_completion"]
"""Why evidence is unavailable: `none` is that no snapshot is stored; null where one is current or nothing is linked."""
ForbiddenClaim = Literal["Recovery verified", "Healthy", "Compliant", "Customer-safe"]


def _is_identifier(text: str) -> str:
    if not is_identifier(text):
        raise ValueError("expected an identifier, which . and .. are not")
    return text


def _is_time(text: str) -> str:
    parse_time(text)
    return text


Id: TypeAlias = Annotated[
    str,
    Field(pattern=f"^{ID_PATTERN}$", json_schema_extra={"not": {"enum": [".", ".."]}}),
    AfterValidator(_is_identifier),
]
Time: TypeAlias = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
        json_schema_extra={"format": "date-time"},
    ),
    AfterValidator(_is_time),
]
Text: TypeAlias = Annotated[str, Field(min_length=1)]
Number: TypeAlias = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Revision: TypeAlias = Annotated[int, Field(ge=1, le=MAX_SEQUENCE)]
Sequence: TypeAlias = Annotated[int, Field(ge=0, le=MAX_SEQUENCE)]
EntityName: TypeAlias = Annotated[str, Field(pattern=rf"^(restore_run|operation_run|evidence_snapshot)/{ID_PATTERN}$")]

_A_LIST_WILL_DO = Strict(strict=False)
"""Of arrays: what was parsed from JSON is a list, what is kept is a tuple."""


class _Document(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", serialize_by_alias=True)


class EvidenceTarget(_Document):
    """The action is done on a snapshot."""

    evidence_snapshot_id: Id


class OperationTarget(_Document):
    """The action is done on the linked operation."""

    operation_run_id: Id


class RunTarget(_Document):
    """The action is done on the restore run."""

    restore_run_id: Id


class Action(_Document):
    """What to do next; the code is the label in snake case."""

    code: ActionCode
    label: Text
    target: EvidenceTarget | OperationTarget | RunTarget


class OperationProof(_Document):
    """Whether an operation run proves the execution. The id is null where the proof is unavailable."""

    state: Literal["unavailable", "in_progress", "available"]
    operation_run_id: Id | None


class PostRunEvidence(_Document):
    """Evidence shown, or why there is none. `valid_until` is the shown snapshot's expiry, null if it has none."""

    state: Literal["unavailable", "available"]
    cause: EvidenceCause | None
    evidence_snapshot_id: Id | None
    valid_until: Time | None


class CountsDocument(_Document):
    """All six counts; null where the source did not say, which is never 0."""

    total: Number | None
    succeeded: Number | None
    failed: Number | None
    skipped: Number | None
    partial: Number | None
    non_applied: Number | None


class ResultSummary(_Document):
    """The counts in words, or what is said where none is known."""

    kind: Literal["counts", "unavailable", "in_progress", "failure_details_required"]
    text: Text
    counts: CountsDocument


class Claims(_Document):
    """What may be said of this restore, and what may never be said."""

    allowed: Annotated[tuple[Text, ...], _A_LIST_WILL_DO]
    forbidden: Annotated[
        tuple[ForbiddenClaim, ...],
        _A_LIST_WILL_DO,
        Field(min_length=len(FORBIDDEN_CLAIMS), max_length=len(FORBIDDEN_CLAIMS)),
    ]


class SourceDocument(_Document):
    """Where in Kafka a fact came from; the timestamp in ms since the epoch."""

    topic: Text
    partition: Number
    offset: Number
    timestamp: Number


class MetadataDocument(_Document):
    """What a restore run carries besides its columns."""

    counts: CountsDocument


class AttentionDocument(_Document):
    """The source's own judgement of the result."""

    state: AttentionState


class RestoreRunDocument(_Document):
    """A restore run's facts."""

    id: Id
    tenant_id: Id
    status: RunStatus
    is_dry_run: bool
    operation_run_id: Id | None
    metadata: MetadataDocument
    result_attention: AttentionDocument | None
    updated_at: Time | None
    sequence: Sequence | None
    source: SourceDocument | None


class OperationRunDocument(_Document):
    """An operation run's facts, the last known ones of a deleted one; the status is null only if none ever were."""

    id: Id
    tenant_id: Id
    status: OperationStatus | None
    outcome: Outcome | None
    started_at: Time | None
    completed_at: Time | None
    deleted: bool
    sequence: Sequence | None
    source: SourceDocument | None


class EvidenceSnapshotDocument(_Document):
    """An evidence snapshot's facts; `expired` is the fact that its `expires_at` has passed."""

    id: Id
    tenant_id: Id
    operation_run_id: Id | None
    status: SnapshotStatus
    generated_at: Time | None
    expires_at: Time | None
    expired: bool
    sequence: Sequence | None
    source: SourceDocument | None


class Inputs(_Document):
    """Every fact that the decision used: enough to decide again, and to restore the store.

    `unreadable` names the entities whose newest event could not be read, as `<entity>/<id>`.
    """

    restore_run: RestoreRunDocument
    operation_run: OperationRunDocument | None
    evidence_snapshots: Annotated[tuple[EvidenceSnapshotDocument, ...], _A_LIST_WILL_DO]
    unreadable: Annotated[tuple[EntityName, ...], _A_LIST_WILL_DO]


class Diagnostics(_Document):
    """What is behind the decision: the rule, why it held in sentences, contradictions, and the facts."""

    default: Literal["collapsed"]
    rule: RuleName
    because: Annotated[tuple[Text, ...], _A_LIST_WILL_DO]
    inconsistencies: Annotated[tuple[InconsistencyCode, ...], _A_LIST_WILL_DO]
    inputs: Inputs


class Transition(_Document):
    """One change of state."""

    revision: Revision
    state: State
    changed_at: Time


class StateDocument(_Document):
    """The value in `decision-state` and, byte for byte, the string in Redis: what an operator may be shown first.

    `changed_at` is when the state last changed, `updated_at` when anything was last applied: times of the input's
    records, never of the worker's clock.
    """

    schema_: Literal["restore.decision-state/1"] = Field(alias="schema")
    tenant_id: Id
    restore_run_id: Id
    operation_run_id: Id | None
    revision: Revision
    state: State
    previous_state: State | None
    status: Text
    reason: Text
    impact: Text
    primary_next_action: Action
    operation_proof: OperationProof
    post_run_evidence: PostRunEvidence
    result_summary: ResultSummary
    claims: Claims
    diagnostics: Diagnostics
    timeline: Annotated[tuple[Transition, ...], _A_LIST_WILL_DO, Field(max_length=TIMELINE_LENGTH)]
    policy: Annotated[int, Field(ge=1)]
    changed_at: Time
    updated_at: Time


class Cause(_Document):
    """The entity whose event or expiry made the change; the sequence is null where it was unreadable or forgotten."""

    entity: Entity
    id: Id
    sequence: Sequence | None


class StateChange(_Document):
    """The value in `decision-changes`: one for every change of state.

    `from_state` is null at first and when a run comes back; `to_state`, `status`, `reason` and `impact` are null when
    it is deleted.
    """

    tenant_id: Id
    restore_run_id: Id
    from_state: State | None
    to_state: State | None
    summary: Text
    status: Text | None
    reason: Text | None
    impact: Text | None
    revision: Revision
    severity: Severity
    direction: Direction
    origin: Origin
    cause: Cause
    changed_at: Time


def change_headers(change: dict[str, Any], prefix: str, traceparent: str | None) -> list[tuple[str, bytes]]:
    """The headers that make a state change a CloudEvent in binary mode; `prefix` is the topics'.

    `change` has the shape of `StateChange`. Attributes whose value is null are absent, so that routers can ask for
    their presence (interfaces, section 6).
    """
    run = run_key(change["tenant_id"], change["restore_run_id"])
    named = (
        ("ce_specversion", "1.0"),
        ("ce_id", f"{run}/{change['revision']}"),
        ("ce_type", CHANGE_TYPE),
        ("ce_source", f"urn:restore-projector:{prefix}"),
        ("ce_subject", run),
        ("ce_time", change["changed_at"]),
        ("ce_tenant", change["tenant_id"]),
        ("ce_fromstate", change["from_state"]),
        ("ce_tostate", change["to_state"]),
        ("ce_severity", change["severity"]),
        ("ce_direction", change["direction"]),
        ("ce_origin", change["origin"]),
        ("content-type", "application/json"),
        ("traceparent", traceparent),
    )
    return [(name, value.encode()) for name, value in named if value is not None]
