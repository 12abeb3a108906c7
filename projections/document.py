"""The decision's part of the state document: what is shown first, and the diagnostics behind it.

Shape and field order are those of interfaces, section 6; the words are those of `projections.matrix`.
"""

from __future__ import annotations

from typing import Any

from contracts.decision import FORBIDDEN_CLAIMS
from contracts.facts import Facts, facts_to_json
from contracts.times import format_time
from projections.because import because
from projections.evidence import Evidence, assess
from projections.inconsistencies import inconsistencies
from projections.matrix import CONTINUE_PREPARATION, COUNT_CLAIMS, REVIEW_BLOCKER, WORDS, Action, Proof
from projections.rules import Rule
from projections.situation import Situation, preview_exists, situate
from projections.summary import summarize


def describe(facts: Facts, rule: Rule) -> dict[str, Any]:
    """The fields from `status` to `diagnostics` of these facts' state document, decided by this rule."""
    situation = situate(facts)
    evidence = assess(situation)
    words = WORDS[rule.state]
    proof = _proof(situation, rule)
    shown = evidence.current if words.evidence_shown else None
    return {
        "status": words.status,
        "reason": words.reason,
        "impact": words.impact,
        "primary_next_action": _primary_next_action(situation, rule, evidence),
        "operation_proof": {
            "state": proof,
            "operation_run_id": None if proof == "unavailable" else facts.run.operation_run_id,
        },
        "post_run_evidence": {
            "state": "unavailable" if shown is None else "available",
            "cause": evidence.cause,
            "evidence_snapshot_id": None if shown is None else shown.id,
            "valid_until": None if shown is None or shown.expires_at is None else format_time(shown.expires_at),
        },
        "result_summary": summarize(facts.run.counts, rule.state),
        "claims": {"allowed": _allowed_claims(situation, rule), "forbidden": list(FORBIDDEN_CLAIMS)},
        "diagnostics": {
            "default": "collapsed",
            "rule": rule.name,
            "because": because(situation, evidence, rule.because),
            "inconsistencies": inconsistencies(situation, rule.state),
            "inputs": facts_to_json(facts),
        },
    }


def _proof(situation: Situation, rule: Rule) -> Proof:
    """The state's operation proof; a deleted operation proves nothing, and neither does one that is not named."""
    proof = WORDS[rule.state].operation_proof
    if situation.operation is not None and situation.operation.deleted:
        return "unavailable"
    return "unavailable" if proof == "available" and not situation.linked else proof


def _primary_next_action(situation: Situation, rule: Rule, evidence: Evidence) -> dict[str, Any]:
    """The state's action; without a preview there is none to review, and what is not there cannot be a target."""
    action = WORDS[rule.state].action
    if rule.state == "not_executed" and not preview_exists(situation):
        action = CONTINUE_PREPARATION
    return {"code": action.code, "label": action.label, "target": _target(situation, action, evidence)}


def _target(situation: Situation, action: Action, evidence: Evidence) -> dict[str, str]:
    run = situation.run
    if action.target == "evidence_snapshot" and evidence.current is not None:
        return {"evidence_snapshot_id": evidence.current.id}
    on_operation = action.target == "operation_run" and situation.linked
    if action is REVIEW_BLOCKER and situation.outcome != "blocked":
        on_operation = False
    if on_operation and run.operation_run_id is not None:
        return {"operation_run_id": run.operation_run_id}
    return {"restore_run_id": run.id}


def _allowed_claims(situation: Situation, rule: Rule) -> list[str]:
    """The state's claims, and in `needs_review` those that the counts show; a preview only where there is one."""
    if not rule.claims_allowed or (rule.state == "not_executed" and not preview_exists(situation)):
        return []
    claims = list(WORDS[rule.state].claims)
    if rule.state == "needs_review":
        counts = situation.run.counts
        claims += [claim for name, claim in COUNT_CLAIMS if getattr(counts, name)]
    return claims
