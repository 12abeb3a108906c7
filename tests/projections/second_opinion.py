"""A second formulation of the decision, to hold against the first.

Written from interfaces, sections 5 and 6, as a procedure that first asks what the run says of itself, where
`projections.rules` is a table that is read from the top. It shares the input vocabulary and nothing else: no wording,
no predicate and no table of `projections` is imported.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.facts import Counts, EvidenceSnapshot, Facts, OperationRun

STATE_OF_RULE = {
    "dry_run": "not_executed",
    "run_failed": "failed",
    "operation_failed": "failed",
    "operation_active": "in_progress",
    "run_cancelled": "blocked_or_cancelled",
    "operation_blocked": "blocked_or_cancelled",
    "run_active": "in_progress",
    "run_behind_operation": "in_progress",
    "pre_execution": "not_executed",
    "needs_review": "needs_review",
    "input_unreadable": "completed_proof_incomplete",
    "evidence_current": "completed_with_evidence",
    "evidence_missing": "completed_proof_incomplete",
    "operation_unlinked": "completed_proof_incomplete",
}


def _operation(facts: Facts) -> OperationRun | None:
    operation = facts.operation
    if operation is None:
        return None
    same = (operation.tenant_id, operation.id) == (facts.run.tenant_id, facts.run.operation_run_id)
    return operation if same else None


def _is_linked(facts: Facts) -> bool:
    if facts.run.operation_run_id is None:
        return False
    operation = _operation(facts)
    return not (operation is not None and operation.deleted)


def rule(facts: Facts) -> str:
    """The name of the rule that decides."""
    run = facts.run
    if run.is_dry_run:
        return "dry_run"
    if run.status == "failed":
        return "run_failed"
    operation = _operation(facts)
    if operation is not None and operation.outcome == "failed":
        return "operation_failed"
    if operation is not None and not operation.deleted and operation.status != "completed":
        return "operation_active"
    if run.status == "cancelled":
        return "run_cancelled"
    if run.status in ("completed", "partial", "completed_with_errors"):
        return _rule_of_a_finished_run(facts, operation)
    return _rule_of_an_unfinished_run(facts, operation)


def _rule_of_an_unfinished_run(facts: Facts, operation: OperationRun | None) -> str:
    if operation is not None and operation.outcome in ("blocked", "cancelled"):
        return "operation_blocked"
    if facts.run.status in ("queued", "running"):
        return "run_active"
    if operation is None or operation.deleted:
        return "pre_execution"
    return "run_behind_operation"


def _rule_of_a_finished_run(facts: Facts, operation: OperationRun | None) -> str:
    match operation.outcome if operation is not None else None:
        case "blocked":
            return "operation_blocked"
        case "cancelled":
            return "needs_review"
    if max(given_rank(facts), derived_rank(facts)) > 0:
        return "needs_review"
    if len(facts.unreadable) > 0:
        return "input_unreadable"
    if not _is_linked(facts):
        return "operation_unlinked"
    return "evidence_missing" if current_snapshot(facts) is None else "evidence_current"


def derived_rank(facts: Facts) -> int:
    """0 completed, 1 completed_with_follow_up, 2 partial: what follows from the facts."""
    operation = _operation(facts)
    counts = facts.run.counts
    rank = 0
    if facts.run.status == "completed_with_errors":
        rank = 1
    if None not in (counts.total, counts.succeeded) and counts.total != counts.succeeded:
        rank = 1
    if (counts.skipped or 0) + (counts.non_applied or 0) > 0:
        rank = 1
    if (counts.failed or 0) + (counts.partial or 0) > 0:
        rank = 2
    if facts.run.status == "partial":
        rank = 2
    if operation is not None and operation.outcome == "partially_succeeded":
        rank = 2
    return rank


def given_rank(facts: Facts) -> int:
    """The same scale on, 3 failed, 4 not_executed: what the source says, -1 if nothing."""
    return [None, "completed", "completed_with_follow_up", "partial", "failed", "not_executed"].index(
        facts.run.attention
    ) - 1


def snapshots_by_age(facts: Facts) -> list[EvidenceSnapshot]:
    """The linked operation's snapshots, newest first."""
    if not _is_linked(facts):
        return []
    mine = [
        s
        for s in facts.evidence
        if (s.tenant_id, s.operation_run_id) == (facts.run.tenant_id, facts.run.operation_run_id)
    ]
    mine.sort(key=lambda s: s.id, reverse=True)
    mine.sort(key=lambda s: float("-inf") if s.generated_at is None else s.generated_at, reverse=True)
    return mine


def _is_old(facts: Facts, snapshot: EvidenceSnapshot) -> bool:
    operation = _operation(facts)
    if operation is None or operation.completed_at is None or snapshot.generated_at is None:
        return False
    return operation.completed_at > snapshot.generated_at


def current_snapshot(facts: Facts) -> EvidenceSnapshot | None:
    for snapshot in snapshots_by_age(facts):
        if snapshot.status != "active" or snapshot.expired or _is_old(facts, snapshot):
            continue
        return snapshot
    return None


def _cause(facts: Facts) -> str | None:
    if not _is_linked(facts) or current_snapshot(facts) is not None:
        return None
    if not snapshots_by_age(facts):
        return "none"
    newest = snapshots_by_age(facts)[0]
    if newest.expired or newest.status == "expired":
        return "expired"
    if newest.status in ("queued", "generating"):
        return "pending"
    if newest.status in ("superseded", "failed"):
        return newest.status
    return "predates_completion"


def page(facts: Facts, decided: str) -> dict[str, Any]:
    """The decision's part of the document, without words for people (see `test_wording`) and without the inputs."""
    state = STATE_OF_RULE[decided]
    shown = None
    if state in ("completed_with_evidence", "needs_review", "failed"):
        shown = current_snapshot(facts)
    proof = _proof(facts, state)
    return {
        "primary_next_action": _action(facts, state),
        "operation_proof": {
            "state": proof,
            "operation_run_id": facts.run.operation_run_id if proof != "unavailable" else None,
        },
        "post_run_evidence": {
            "state": "available" if shown else "unavailable",
            "cause": _cause(facts),
            "evidence_snapshot_id": shown.id if shown else None,
            "valid_until": _written(shown.expires_at) if shown else None,
        },
        "result_summary": _summary(facts.run.counts, state),
        "claims": _claims(facts, decided, state),
        "rule": decided,
        "inconsistencies": _inconsistencies(facts, state),
    }


def _written(at: int | None) -> str | None:
    if at is None:
        return None
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _proof(facts: Facts, state: str) -> str:
    operation = _operation(facts)
    if state == "not_executed" or (operation is not None and operation.deleted):
        return "unavailable"
    if state == "in_progress":
        return "in_progress"
    return "available" if _is_linked(facts) else "unavailable"


def _has_preview(facts: Facts) -> bool:
    if facts.run.status == "previewed":
        return True
    return facts.run.is_dry_run and facts.run.status in ("completed", "partial", "completed_with_errors")


def _action(facts: Facts, state: str) -> dict[str, Any]:
    target = {"restore_run_id": facts.run.id}
    match state:
        case "not_executed":
            code = "review_preview" if _has_preview(facts) else "continue_preparation"
        case "in_progress":
            code = "view_operation_progress"
            if _is_linked(facts):
                target = {"operation_run_id": str(facts.run.operation_run_id)}
        case "completed_proof_incomplete":
            code = "review_restored_details"
        case "completed_with_evidence":
            code = "open_evidence"
            snapshot = current_snapshot(facts)
            assert snapshot is not None
            target = {"evidence_snapshot_id": snapshot.id}
        case "needs_review":
            code = "review_item_outcomes"
        case "failed":
            code = "review_failure_details"
        case _:
            code = "review_blocker"
            operation = _operation(facts)
            if operation is not None and operation.outcome == "blocked" and not operation.deleted:
                target = {"operation_run_id": operation.id}
    return {"code": code, "label": code.replace("_", " ").capitalize(), "target": target}


def _summary(counts: Counts, state: str) -> dict[str, Any]:
    known = {name: count for name, count in counts._asdict().items() if count is not None}
    if not known:
        kind, text = {
            "blocked_or_cancelled": ("unavailable", "Unavailable"),
            "in_progress": ("in_progress", "In progress"),
            "failed": ("failure_details_required", "Failure details required"),
        }.get(state, ("unavailable", "Result summary unavailable"))
        return {"kind": kind, "text": text, "counts": counts._asdict()}
    return {"kind": "counts", "text": _in_words(known), "counts": counts._asdict()}


def _in_words(known: dict[str, int]) -> str:
    head = ""
    if "total" in known:
        head = f"{known['total']} item" + ("" if known["total"] == 1 else "s")
    tail = []
    for name in ("succeeded", "failed", "skipped", "partial", "non_applied"):
        word = "not applied" if name == "non_applied" else name
        if name in known and (known[name] > 0 or name == "succeeded"):
            tail.append(f"{known[name]} {word}")
    text = ": ".join(part for part in (head, ", ".join(tail)) if part)
    if text:
        return text
    return ", ".join(f"0 {name}" for name in known).replace("non_applied", "not applied")


CLAIM = {
    "in_progress": "Execution in progress",
    "completed_proof_incomplete": "Execution proof available",
    "completed_with_evidence": "Evidence snapshot available",
    "failed": "Execution failed",
}


def _claims(facts: Facts, decided: str, state: str) -> list[str]:
    if decided in ("input_unreadable", "operation_unlinked", "run_cancelled", "operation_blocked"):
        return []
    if state == "not_executed":
        return ["Preview evidence exists"] if _has_preview(facts) else []
    if state == "needs_review":
        return ["Follow-up required", *_claims_of_counts(facts.run.counts)]
    return [CLAIM[state]]


def _claims_of_counts(counts: Counts) -> list[str]:
    found = []
    if counts.skipped is not None and counts.skipped > 0:
        found.append("Skipped items exist")
    if counts.failed is not None and counts.failed > 0:
        found.append("Failed items exist")
    if counts.partial is not None and counts.partial > 0:
        found.append("Partially applied items exist")
    if counts.non_applied is not None and counts.non_applied > 0:
        found.append("Items not applied exist")
    return found


def _inconsistencies(facts: Facts, state: str) -> list[str]:
    return [*_between_run_and_operation(facts), *_about_the_result(facts, state)]


def _between_run_and_operation(facts: Facts) -> list[str]:
    run, operation = facts.run, _operation(facts)
    if operation is None:
        return [] if run.operation_run_id is None else ["operation_not_observed"]
    found = []
    if operation.deleted:
        found.append("operation_deleted")
    elif operation.status == "completed":
        if run.status in ("draft", "scoped", "checked", "previewed", "queued", "running"):
            found.append("operation_ahead_of_run")
    elif run.status in ("completed", "partial", "completed_with_errors", "failed", "cancelled"):
        found.append("run_ahead_of_operation")
    match run.status, operation.outcome:
        case (("completed" | "partial" | "completed_with_errors"), ("failed" | "blocked" | "cancelled")):
            found.append("outcome_conflict")
        case "failed", "succeeded":
            found.append("outcome_conflict")
    return found


def _about_the_result(facts: Facts, state: str) -> list[str]:
    run = facts.run
    found = []
    too_good = 0 <= given_rank(facts) < derived_rank(facts)
    too_bad = given_rank(facts) >= 3 and run.status in ("completed", "partial", "completed_with_errors")
    if too_good or too_bad:
        found.append("attention_conflict")
    active = [s for s in snapshots_by_age(facts) if s.status == "active" and not s.expired]
    if active and all(_is_old(facts, s) for s in active):
        found.append("evidence_predates_completion")
    if run.is_dry_run and run.status in ("failed", "cancelled"):
        found.append("preview_failed")
    applied = (run.counts.succeeded or 0) + (run.counts.failed or 0) + (run.counts.partial or 0)
    if state == "blocked_or_cancelled" and applied > 0:
        found.append("applied_before_cancellation")
    if facts.unreadable:
        found.append("unreadable_input")
    return found
