"""What no document may say unless the facts are there, whatever the rules are.

Read off the purpose, not off the rules: evidence, claims and words of success, each with the facts that it needs.
"""

from __future__ import annotations

import re
from typing import Any

from contracts.facts import COUNT_NAMES, Facts

FORBIDDEN = ("recovery verified", "healthy", "compliant", "customer-safe")
"""The contract, state 4; in any case."""

DONE = ("completed", "partial", "completed_with_errors")


def check(facts: Facts, state: str, document: dict[str, Any]) -> None:
    """Fails with the first thing that is said and not proven. An operation that the run does not name is no proof."""
    run, operation = facts.run, facts.operation
    if operation is not None and (operation.tenant_id, operation.id) != (run.tenant_id, run.operation_run_id):
        facts = facts._replace(operation=None)
    _check_evidence(facts, state, document)
    _check_proof(facts, document)
    _check_success(facts, state, document)
    _check_claims(facts, document)
    _check_numbers(facts, document)
    _check_words(document)


def _operation_stands(facts: Facts) -> bool:
    """An operation is named, and it is not known to be gone."""
    return facts.run.operation_run_id is not None and not (facts.operation is not None and facts.operation.deleted)


def _check_evidence(facts: Facts, state: str, document: dict[str, Any]) -> None:
    evidence = document["post_run_evidence"]
    assert (evidence["state"] == "available") == (evidence["evidence_snapshot_id"] is not None)
    if evidence["state"] == "unavailable":
        assert evidence["valid_until"] is None
        return
    assert state in ("completed_with_evidence", "needs_review", "failed")
    assert _operation_stands(facts)
    (snapshot,) = (
        s
        for s in facts.evidence
        if (s.tenant_id, s.id) == (facts.run.tenant_id, evidence["evidence_snapshot_id"])
        and s.operation_run_id == facts.run.operation_run_id
    )
    assert snapshot.status == "active"
    assert not snapshot.expired
    if facts.operation is not None and facts.operation.completed_at is not None and snapshot.generated_at is not None:
        assert snapshot.generated_at >= facts.operation.completed_at
    assert (evidence["valid_until"] is None) == (snapshot.expires_at is None)


def _check_proof(facts: Facts, document: dict[str, Any]) -> None:
    proof = document["operation_proof"]
    if proof["state"] == "unavailable":
        assert proof["operation_run_id"] is None
        return
    assert not facts.run.is_dry_run
    assert facts.operation is None or not facts.operation.deleted
    assert proof["operation_run_id"] == facts.run.operation_run_id
    if proof["state"] == "available":
        assert _operation_stands(facts)


def _check_success(facts: Facts, state: str, document: dict[str, Any]) -> None:
    run, operation = facts.run, facts.operation
    if "completed" in document["status"].lower():
        assert run.status in DONE
        assert not run.is_dry_run
        assert operation is None or operation.outcome not in ("failed", "blocked")
        assert operation is None or operation.deleted or operation.status == "completed"
    if state in ("completed_with_evidence", "completed_proof_incomplete"):
        assert run.status == "completed"
        assert run.attention in (None, "completed")
        assert not any((run.counts.failed, run.counts.skipped, run.counts.partial, run.counts.non_applied))
        assert None in (run.counts.total, run.counts.succeeded) or run.counts.total == run.counts.succeeded
        assert operation is None or operation.outcome in (None, "pending", "succeeded")
    if state == "completed_with_evidence":
        assert document["operation_proof"]["state"] == "available"
        assert document["post_run_evidence"]["state"] == "available"
        assert not facts.unreadable


def _check_claims(facts: Facts, document: dict[str, Any]) -> None:
    run, operation, counts = facts.run, facts.operation, facts.run.counts
    grounds = {
        "Preview evidence exists": run.status == "previewed" or (run.is_dry_run and run.status in DONE),
        "Execution in progress": run.status in ("queued", "running")
        or (operation is not None and not operation.deleted and not run.is_dry_run),
        "Execution proof available": run.status == "completed" and _operation_stands(facts) and not facts.unreadable,
        "Evidence snapshot available": document["post_run_evidence"]["state"] == "available",
        "Follow-up required": run.status in DONE,
        "Skipped items exist": bool(counts.skipped),
        "Failed items exist": bool(counts.failed),
        "Partially applied items exist": bool(counts.partial),
        "Items not applied exist": bool(counts.non_applied),
        "Execution failed": run.status == "failed" or (operation is not None and operation.outcome == "failed"),
    }
    for claim in document["claims"]["allowed"]:
        assert grounds[claim], claim


def _check_numbers(facts: Facts, document: dict[str, Any]) -> None:
    summary = document["result_summary"]
    known = {name: getattr(facts.run.counts, name) for name in COUNT_NAMES}
    assert summary["counts"] == known
    numbers = [int(number) for number in re.findall(r"\d+", summary["text"])]
    remaining = [count for count in known.values() if count is not None]
    for number in numbers:
        remaining.remove(number)
    assert (summary["kind"] == "counts") == bool(numbers)


def _check_words(document: dict[str, Any]) -> None:
    """Forbidden words nowhere outside `claims.forbidden`; what the inputs repeat are identifiers."""
    outside = {**document, "claims": document["claims"]["allowed"]}
    outside["diagnostics"] = {**document["diagnostics"], "inputs": None}
    text = str(outside).lower()
    assert not any(word in text for word in FORBIDDEN), text
