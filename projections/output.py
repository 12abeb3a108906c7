"""From a run's record to what is published about it: the state document and the state change."""

from __future__ import annotations

from typing import Any

from contracts.decision import SCHEMA, SEVERITY, Origin, State, direction
from contracts.facts import Entity, Facts
from contracts.times import format_time
from projections import rules
from projections.document import describe
from projections.matrix import WORDS
from projections.record import RunRecord
from projections.rules import Rule


def state_document(record: RunRecord, facts: Facts, rule: Rule) -> dict[str, Any]:
    """The value in `decision-state`, its keys in the contract's order (interfaces, section 6)."""
    run = record.run
    decided = describe(facts, rule)
    return {
        "schema": SCHEMA,
        "tenant_id": run.tenant_id,
        "restore_run_id": run.id,
        "operation_run_id": run.operation_run_id,
        "revision": record.revision,
        "state": record.state,
        "previous_state": record.previous_state,
        **decided,
        "timeline": [
            {"revision": t.revision, "state": t.state, "changed_at": format_time(t.changed_at)} for t in record.timeline
        ],
        "policy": rules.POLICY,
        "changed_at": format_time(record.changed_at),
        "updated_at": format_time(record.updated_at),
    }


def state_change(
    tenant: str,
    run: str,
    before: State | None,
    after: State | None,
    *,
    revision: int,
    origin: Origin,
    cause: tuple[Entity, str, int | None],
    changed_at: int,
) -> dict[str, Any]:
    """The value in `decision-changes`; `after` None is the run's removal, `cause` (entity, id, sequence)."""
    words = None if after is None else WORDS[after]
    entity, id, sequence = cause
    return {
        "tenant_id": tenant,
        "restore_run_id": run,
        "from_state": before,
        "to_state": after,
        "summary": _summary(run, before, after),
        "status": None if words is None else words.status,
        "reason": None if words is None else words.reason,
        "impact": None if words is None else words.impact,
        "revision": revision,
        "severity": "info" if after is None else SEVERITY[after],
        "direction": direction(before, after),
        "origin": origin,
        "cause": {"entity": entity, "id": id, "sequence": sequence},
        "changed_at": format_time(changed_at),
    }


def _summary(run: str, before: State | None, after: State | None) -> str:
    now = "removed" if after is None else WORDS[after].status
    was = "" if before is None else f" (was: {WORDS[before].status})"
    return f"{run}: {now}{was}"
