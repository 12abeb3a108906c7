"""Why a restore is decided as it is, why not otherwise, and what would have to become true for something better.

Everything comes from the table that decides (`projections.rules`): the rule is decided again from the document's facts,
the rules before it are those of the table, and the ways to better states are found by deciding (`projections.ways`).
What is added here are words for the facts that each rule looks at. They say enough: rules that look at the same words
hold or do not hold alike, which a test shows over all cases.

The shape is `contracts.explanation`. There is no clock here: ages are those at `now`, in ms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from contracts.decision import SEVERITY
from contracts.explanation import SCHEMA
from contracts.facts import Entity, Facts, facts_from_json, facts_to_json
from contracts.times import format_time, parse_time
from projections.attention import attention, derived
from projections.because import NO_CURRENT_EVIDENCE, SENTENCES, because
from projections.document import describe
from projections.evidence import assess, is_unexpired, stored_snapshots
from projections.inconsistencies import INCONSISTENCIES
from projections.matrix import WORDS
from projections.rules import POLICY, RULES, Rule, decide
from projections.situation import Situation, situate
from projections.summary import counts_text
from projections.ways import Edit, Step, Way, ways


def explain(document: Mapping[str, Any], now: int) -> dict[str, Any]:
    """The explanation of a state document; `now` is the moment of its ages, in ms.

    It is of this version's decision from the document's facts. Where the document was decided otherwise, by another
    policy, `stored` says how.
    """
    facts = facts_from_json(document["diagnostics"]["inputs"])
    rule = decide(facts)
    situation = situate(facts)
    decided = describe(facts, rule)
    said = (document["state"], document["diagnostics"]["rule"])
    return {
        "schema": SCHEMA,
        "tenant_id": facts.run.tenant_id,
        "restore_run_id": facts.run.id,
        "as_of": format_time(now),
        "state": rule.state,
        "severity": SEVERITY[rule.state],
        **{name: decided[name] for name in ("status", "reason", "impact", "primary_next_action", "claims")},
        "rule": _rule(rule, decided["diagnostics"]["because"]),
        "rules_before": [_why_not(earlier, situation) for earlier in RULES[: RULES.index(rule)]],
        "better_states": [_way(way) for way in ways(facts, now)],
        "facts": list(_facts(facts, now)),
        "inconsistencies": [
            {"code": row.code, "words": IN_WORDS[row.code](situation)}
            for row in INCONSISTENCIES
            if row.holds(situation, rule.state)
        ],
        "timeline": [_transition(entry, now) for entry in document["timeline"]],
        "revision": document["revision"],
        "policy": POLICY,
        "changed_at": document["changed_at"],
        "updated_at": document["updated_at"],
        "stored": None
        if said == (rule.state, rule.name)
        else {"state": said[0], "rule": said[1], "policy": document["policy"]},
    }


def _rule(rule: Rule, sentences: list[str]) -> dict[str, Any]:
    return {
        "name": rule.name,
        "number": RULES.index(rule) + 1,
        "of": len(RULES),
        "when": rule.when,
        "because": sentences,
        "why": rule.why,
    }


def _why_not(rule: Rule, situation: Situation) -> dict[str, Any]:
    return {
        "name": rule.name,
        "state": rule.state,
        "when": rule.when,
        "why_not": [ASPECTS[name](situation) for name in LOOKS_AT[rule.name]],
    }


def _way(way: Way) -> dict[str, Any]:
    return {
        "state": way.state,
        "status": WORDS[way.state].status,
        "steps": [_step(step) for step in way.steps],
    }


def _step(step: Step) -> dict[str, Any]:
    return {"words": step.words, "correction": step.correction, "edits": [_edit(edit) for edit in step.edits]}


def _edit(edit: Edit) -> dict[str, Any]:
    return {"entity": edit.entity, "id": edit.id, "field": edit.field, "from": edit.before, "to": edit.after}


def _transition(entry: Mapping[str, Any], now: int) -> dict[str, Any]:
    return {**entry, "status": WORDS[entry["state"]].status, "age_ms": _age(parse_time(entry["changed_at"]), now)}


def _age(at: int, now: int) -> int:
    """A moment after `now` is one of another clock, and has no age yet."""
    return max(now - at, 0)


# The facts


def _facts(facts: Facts, now: int) -> Iterator[dict[str, Any]]:
    """Each entity's fields, where they came from and how old they are; then those of which only a mark is known."""
    inputs = facts_to_json(facts)
    unreadable = dict.fromkeys(facts.unreadable)
    entities: list[tuple[Entity, dict[str, Any] | None]] = [("restore_run", inputs["restore_run"])]
    entities.append(("operation_run", inputs["operation_run"]))
    entities += [("evidence_snapshot", snapshot) for snapshot in inputs["evidence_snapshots"]]
    for entity, fields in entities:
        if fields is not None:
            name = f"{entity}/{fields['id']}"
            yield _fact(entity, fields, now, unreadable=name in unreadable)
            unreadable.pop(name, None)
    for name in unreadable:
        entity_name, _, id = name.partition("/")
        yield {
            "entity": entity_name, "id": id, "fields": None, "sequence": None, "source": None, "age_ms": None,
            "unreadable": True,
        }  # fmt: skip


def _fact(entity: Entity, fields: Mapping[str, Any], now: int, *, unreadable: bool) -> dict[str, Any]:
    source = fields["source"]
    said = {name: value for name, value in fields.items() if name not in {"id", "tenant_id", "sequence", "source"}}
    return {
        "entity": entity,
        "id": fields["id"],
        "fields": said,
        "sequence": fields["sequence"],
        "source": source,
        "age_ms": None if source is None else _age(source["timestamp"], now),
        "unreadable": unreadable,
    }


# Why a rule did not hold: what it looked at.


def _names(s: Situation) -> str | None:
    """Why the run's operation has no status and no outcome; None if it may have."""
    if s.run.operation_run_id is None:
        return "The restore run names no operation."
    if s.operation is None:
        return f"Nothing was seen yet of operation {s.run.operation_run_id}."
    return None


def _operation_status(s: Situation) -> str:
    if s.operation is not None and s.operation.deleted:
        return f"Operation {s.operation.id} was deleted; its status no longer counts."
    return _names(s) or f"The status of operation {s.run.operation_run_id} is {s.operation_status}."


def _outcome(s: Situation) -> str:
    if s.operation is not None and s.outcome is None:
        return f"Operation {s.operation.id} has no outcome."
    return _names(s) or f"The outcome of operation {s.run.operation_run_id} is {s.outcome}."


def _evidence(s: Situation) -> str:
    evidence = assess(s)
    if not s.linked:
        return "No operation is linked, so there is nothing that evidence could be about."
    if evidence.current is not None:
        return f"Evidence snapshot {evidence.current.id} is current."
    return " ".join(because(s, evidence, NO_CURRENT_EVIDENCE))


def _link(s: Situation) -> str:
    if s.linked:
        return f"The restore run is linked to operation {s.run.operation_run_id}."
    return _names(s) or f"The restore run names operation {s.run.operation_run_id}, which was deleted."


ASPECTS: Final[dict[str, Callable[[Situation], str]]] = {
    "dry run": lambda s: SENTENCES["dry run"].template if s.run.is_dry_run else "The restore run is not a dry run.",
    "status": lambda s: f"The restore run's status is {s.status}.",
    "operation status": _operation_status,
    "outcome": _outcome,
    "attention": lambda s: f"The attention is {attention(s)}.",
    "unreadable": lambda s: (
        f"The newest event of {', '.join(s.facts.unreadable)} could not be read."
        if s.facts.unreadable
        else "Every newest event could be read."
    ),
    "evidence": _evidence,
    "link": _link,
}
"""What a rule may look at, and how it is in a situation."""

LOOKS_AT: Final[dict[str, tuple[str, ...]]] = {
    "dry_run": ("dry run",),
    "run_failed": ("status",),
    "operation_failed": ("outcome",),
    "operation_active": ("operation status",),
    "run_cancelled": ("status",),
    "operation_blocked": ("outcome", "status"),
    "run_active": ("status",),
    "run_behind_operation": ("status", "operation status"),
    "pre_execution": ("status",),
    "needs_review": ("status", "attention", "outcome"),
    "input_unreadable": ("unreadable",),
    "evidence_current": ("evidence",),
    "evidence_missing": ("link",),
    "operation_unlinked": (),
}
"""What each rule looks at: all that decides whether it holds."""


# Inconsistencies in words


def _attention_conflict(s: Situation) -> str:
    found = derived(s)
    if s.run.attention in ("failed", "not_executed"):
        return f"The given result attention is {s.run.attention}, but the restore run's status is {s.status}."
    return f"The given result attention is {s.run.attention}, but from the facts follows {found}."


def _too_old(s: Situation) -> str:
    ids = ", ".join(snapshot.id for snapshot in stored_snapshots(s) if is_unexpired(snapshot))
    return f"Active evidence ({ids}) is older than the completion of operation {s.run.operation_run_id}."


IN_WORDS: Final[dict[str, Callable[[Situation], str]]] = {
    "operation_not_observed": lambda s: (
        f"The restore run names operation {s.run.operation_run_id}, of which nothing was seen yet."
    ),
    "operation_deleted": lambda s: f"The restore run names operation {s.run.operation_run_id}, which was deleted.",
    "operation_ahead_of_run": lambda s: (
        f"Operation {s.run.operation_run_id} is completed, but the restore run's status is {s.status}."
    ),
    "run_ahead_of_operation": lambda s: (
        f"The restore run's status is {s.status}, but operation {s.run.operation_run_id} is {s.operation_status}."
    ),
    "outcome_conflict": lambda s: (
        f"The restore run's status is {s.status}, but the outcome of operation {s.run.operation_run_id} is {s.outcome}."
    ),
    "attention_conflict": _attention_conflict,
    "evidence_predates_completion": _too_old,
    "preview_failed": lambda s: f"The restore run is a dry run, and its status is {s.status}.",
    "applied_before_cancellation": lambda s: (
        f"The restore is shown as blocked or cancelled, but its counts say: {counts_text(s.run.counts)}."
    ),
    "unreadable_input": lambda s: f"The newest event of {', '.join(s.facts.unreadable)} could not be read.",
}
"""What each inconsistency is in a situation in which it holds."""
