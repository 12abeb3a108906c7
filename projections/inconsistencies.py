"""Facts that contradict each other: named for whoever looks closer, never a reason to decide otherwise.

Interfaces, section 5, in the order of its table. The decision itself is always on the side of claiming less.
An operation's status counts only while it is linked; its outcome still counts when it is deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from contracts.decision import State
from projections.attention import BADNESS, derived
from projections.evidence import is_current, is_unexpired, stored_snapshots
from projections.situation import ACTIVE, FINAL, PRE_EXECUTION, TERMINAL, Situation


class Inconsistency(NamedTuple):
    """One kind of contradiction: its code, what it means, and whether it holds in a situation that was decided so."""

    code: str
    when: str
    holds: Callable[[Situation, State], bool]


def _outcome_conflict(s: Situation, _: State) -> bool:
    if s.status in TERMINAL:
        return s.outcome in ("failed", "blocked", "cancelled")
    return s.status == "failed" and s.outcome == "succeeded"


def _attention_conflict(s: Situation, _: State) -> bool:
    given = s.run.attention
    if given is None:
        return False
    return BADNESS[given] < BADNESS[derived(s)] or (given in ("failed", "not_executed") and s.status in TERMINAL)


def _evidence_predates_completion(s: Situation, _: State) -> bool:
    if not s.linked or not s.facts.evidence:
        return False
    active = [snapshot for snapshot in stored_snapshots(s) if is_unexpired(snapshot)]
    return bool(active) and not any(is_current(snapshot, s.operation) for snapshot in active)


def _applied_before_cancellation(s: Situation, state: State) -> bool:
    counts = s.run.counts
    return state == "blocked_or_cancelled" and bool(counts.succeeded or counts.failed or counts.partial)


INCONSISTENCIES: Final = (
    Inconsistency(
        "operation_not_observed",
        "The run names an operation that was never seen.",
        lambda s, _: s.linked and s.operation is None,
    ),
    Inconsistency(
        "operation_deleted",
        "The run names an operation that was deleted.",
        lambda s, _: s.operation is not None and s.operation.deleted,
    ),
    Inconsistency(
        "operation_ahead_of_run",
        "The operation is completed, but the run is pre-execution, queued or running.",
        lambda s, _: s.operation_status == "completed" and (s.status in PRE_EXECUTION or s.status in ACTIVE),
    ),
    Inconsistency(
        "run_ahead_of_operation",
        "The run is final (completed, partial, completed_with_errors, failed or cancelled), "
        "but the operation is queued or running.",
        lambda s, _: s.operation_status in ACTIVE and s.status in FINAL,
    ),
    Inconsistency(
        "outcome_conflict",
        "The run is completed, partial or completed_with_errors, but the operation's outcome is failed, blocked or "
        "cancelled; or the run failed, but the outcome is succeeded. A deleted operation's outcome counts too.",
        _outcome_conflict,
    ),
    Inconsistency(
        "attention_conflict",
        "The given attention is better than what follows from the facts; or it is failed or not_executed "
        "for a run that is completed, partial or completed_with_errors.",
        _attention_conflict,
    ),
    Inconsistency(
        "evidence_predates_completion",
        "An active snapshot of the linked operation is older than its completion, and none is current.",
        _evidence_predates_completion,
    ),
    Inconsistency(
        "preview_failed",
        "A dry run failed or was cancelled.",
        lambda s, _: s.run.is_dry_run and s.status in ("failed", "cancelled"),
    ),
    Inconsistency(
        "applied_before_cancellation",
        "The run is shown as blocked or cancelled, but the counts say that items succeeded, failed "
        "or were partially applied.",
        _applied_before_cancellation,
    ),
    Inconsistency(
        "unreadable_input",
        "The newest event of the run, of its operation or of one of that operation's snapshots could not be read.",
        lambda s, _: bool(s.facts.unreadable),
    ),
)


def inconsistencies(situation: Situation, state: State) -> list[str]:
    """The codes that hold, in the table's order."""
    return [row.code for row in INCONSISTENCIES if row.holds(situation, state)]
