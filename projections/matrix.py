"""The seven decision states in the words of the state contract, word for word.

Source: docs/restore-result-state-contract.txt, states 1 to 7; a test compares them. What the contract leaves to the
implementation ("contextual to available actions", "as repo-backed") is settled in interfaces, section 5.
Nothing here decides; `projections.rules` says which state, this says what is shown in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from contracts.decision import State

Target = Literal["restore_run", "operation_run", "evidence_snapshot"]
SummaryKind = Literal["counts", "unavailable", "in_progress", "failure_details_required"]
Proof = Literal["unavailable", "in_progress", "available"]


@dataclass(frozen=True, slots=True)
class Action:
    """A next action: its label, and what it is done on. Where that is not linked, it is done on the restore run."""

    label: str
    target: Target = "restore_run"

    @property
    def code(self) -> str:
        """The label in snake case."""
        return self.label.lower().replace(" ", "_")


@dataclass(frozen=True, slots=True)
class Words:
    """What is shown in one state.

    `operation_proof` is `available` only where an operation is linked, else that proof is unavailable.
    `evidence_shown` is whether current evidence, if there is any, may be shown in this state.
    `summary` and `summary_kind` are what is said where no count is known. `claims` may be made, others not.
    """

    title: str
    status: str
    reason: str
    impact: str
    action: Action
    operation_proof: Proof
    evidence_shown: bool
    summary_kind: SummaryKind
    summary: str
    claims: tuple[str, ...]


REVIEW_PREVIEW: Final = Action("Review preview")
CONTINUE_PREPARATION: Final = Action("Continue preparation")
REVIEW_BLOCKER: Final = Action("Review blocker", "operation_run")

WORDS: Final[dict[State, Words]] = {
    "not_executed": Words(
        title="Not Executed (Draft / Preview Only)",
        status="Not executed",
        reason="This record proves preview truth, not environment recovery.",
        impact="No execution proof or post-run evidence exists yet.",
        action=REVIEW_PREVIEW,
        operation_proof="unavailable",
        evidence_shown=False,
        summary_kind="unavailable",
        summary="Result summary unavailable",
        claims=("Preview evidence exists",),
    ),
    "in_progress": Words(
        title="Execution In Progress (Queued / Running)",
        status="Execution in progress",
        reason="Restore execution is currently running.",
        impact="Results and evidence are not final yet.",
        action=Action("View operation progress", "operation_run"),
        operation_proof="in_progress",
        evidence_shown=False,
        summary_kind="in_progress",
        summary="In progress",
        claims=("Execution in progress",),
    ),
    "completed_proof_incomplete": Words(
        title="Completed (Recovery Proof Incomplete)",
        status="Completed, recovery proof incomplete",
        reason="Execution completed, but post-run evidence is not available yet.",
        impact="Do not treat this restore as verified recovery until evidence has been reviewed.",
        action=Action("Review restored details"),
        operation_proof="available",
        evidence_shown=False,
        summary_kind="unavailable",
        summary="Result summary unavailable",
        claims=("Execution proof available",),
    ),
    "completed_with_evidence": Words(
        title="Completed (Evidence Available)",
        status="Completed with evidence available",
        reason="Execution proof and post-run evidence are available.",
        impact="Review evidence before treating the restore as recovery proof.",
        action=Action("Open evidence", "evidence_snapshot"),
        operation_proof="available",
        evidence_shown=True,
        summary_kind="unavailable",
        summary="Result summary unavailable",
        claims=("Evidence snapshot available",),
    ),
    "needs_review": Words(
        title="Completed With Items Needing Review (Partial / Follow-Up)",
        status="Completed with items needing review",
        reason="Some items were skipped, partially applied, or failed.",
        impact="Review item outcomes before relying on the result.",
        action=Action("Review item outcomes"),
        operation_proof="available",
        evidence_shown=True,
        summary_kind="unavailable",
        summary="Result summary unavailable",
        claims=("Follow-up required",),
    ),
    "failed": Words(
        title="Failed",
        status="Restore failed",
        reason="The restore did not complete successfully.",
        impact="Some requested changes may not have been applied.",
        action=Action("Review failure details"),
        operation_proof="available",
        evidence_shown=True,
        summary_kind="failure_details_required",
        summary="Failure details required",
        claims=("Execution failed",),
    ),
    "blocked_or_cancelled": Words(
        title="Cancelled / Blocked",
        status="Restore blocked / cancelled",
        reason="Restore did not execute due to cancellation or blocker.",
        impact="No recovery proof exists.",
        action=REVIEW_BLOCKER,
        operation_proof="available",
        evidence_shown=False,
        summary_kind="unavailable",
        summary="Unavailable",
        claims=(),
    ),
}

COUNT_CLAIMS: Final = (
    ("skipped", "Skipped items exist"),
    ("failed", "Failed items exist"),
    ("partial", "Partially applied items exist"),
    ("non_applied", "Items not applied exist"),
)
"""In `needs_review` also claimed where that count is above 0 (the contract, state 5; interfaces, section 5)."""
