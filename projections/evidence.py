"""Which evidence is current, and if none is, why not.

Only the snapshots of the operation that the run is linked to are evidence for it. Without a linked operation there is
nothing that evidence could be about: none is shown, and no cause is given (interfaces, sections 5 and 6).

There is no clock here. That a snapshot has expired is a fact stored with it.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from contracts.facts import EvidenceSnapshot, OperationRun, SnapshotStatus
from contracts.times import EARLIEST
from projections.situation import Situation

Cause = Literal["none", "pending", "expired", "superseded", "failed", "predates_completion"]

CAUSES: Final[dict[Cause, str]] = {
    "none": "No snapshot of the operation is stored.",
    "pending": "The newest stored snapshot is queued or being generated.",
    "expired": "The newest stored snapshot has expired.",
    "superseded": "The newest stored snapshot was superseded by another.",
    "failed": "The newest stored snapshot failed.",
    "predates_completion": "The newest stored snapshot was generated before the operation completed.",
}
"""What each `post_run_evidence.cause` means."""

_CAUSE_OF: Final[dict[SnapshotStatus, Cause]] = {
    "queued": "pending",
    "generating": "pending",
    "superseded": "superseded",
    "expired": "expired",
    "failed": "failed",
    "active": "predates_completion",
}
"""An active snapshot that is neither expired nor current can only be too old."""


class Evidence(NamedTuple):
    """The stored evidence of a run: the current snapshot to show; else why there is none, and the newest one stored."""

    current: EvidenceSnapshot | None
    cause: Cause | None
    newest: EvidenceSnapshot | None


NOTHING_LINKED: Final = Evidence(None, None, None)
NOTHING_STORED: Final = Evidence(None, "none", None)


def assess(situation: Situation) -> Evidence:
    """The evidence for a run: current where there is any, else the cause, read off the newest stored snapshot."""
    if not situation.linked:
        return NOTHING_LINKED
    stored = stored_snapshots(situation)
    if not stored:
        return NOTHING_STORED
    newest = max(stored, key=_age_order)
    current = [snapshot for snapshot in stored if is_current(snapshot, situation.operation)]
    if current:
        return Evidence(max(current, key=_age_order), None, newest)
    return Evidence(None, "expired" if newest.expired else _CAUSE_OF[newest.status], newest)


def stored_snapshots(situation: Situation) -> list[EvidenceSnapshot]:
    """The snapshots of the run's operation; another operation's or another tenant's are none of this run's evidence."""
    run = situation.run
    return [
        snapshot
        for snapshot in situation.facts.evidence
        if snapshot.operation_run_id == run.operation_run_id and snapshot.tenant_id == run.tenant_id
    ]


def is_current(snapshot: EvidenceSnapshot, operation: OperationRun | None) -> bool:
    """A snapshot of this operation (None: not yet seen) is active, unexpired and not older than the completion."""
    return is_unexpired(snapshot) and not predates_completion(snapshot, operation)


def is_unexpired(snapshot: EvidenceSnapshot) -> bool:
    """Its status is active and stream time has not passed its expiry: status expired and `expired` mean the same."""
    return snapshot.status == "active" and not snapshot.expired


def predates_completion(snapshot: EvidenceSnapshot, operation: OperationRun | None) -> bool:
    """It was generated before the operation completed; not so where one of the two times is unknown."""
    completed_at = None if operation is None else operation.completed_at
    return snapshot.generated_at is not None and completed_at is not None and snapshot.generated_at < completed_at


def _age_order(snapshot: EvidenceSnapshot) -> tuple[int, str]:
    """Oldest first: unknown times, then by `generated_at`, then by id."""
    return (EARLIEST - 1 if snapshot.generated_at is None else snapshot.generated_at, snapshot.id)
