"""A stored document, decided by this version's rules from the facts in it.

A document holds every fact that its decision used (`diagnostics.inputs`), so nothing else is needed. Its revision, its
times and its history are not the rules' affair and are left as they are; `policy` alone makes no difference.
"""

from __future__ import annotations

from typing import Any, Final

from contracts.decision import SCHEMA
from contracts.facts import facts_from_json
from projections.document import describe
from projections.formats import DOCUMENT, upgraded
from projections.rules import Rule, decide

DECIDED: Final = (
    "schema", "operation_run_id", "state", "status", "reason", "impact", "primary_next_action", "operation_proof",
    "post_run_evidence", "result_summary", "claims", "diagnostics",
)  # fmt: skip
"""The fields that follow from facts and rules alone."""


def decided_afresh(document: dict[str, Any]) -> tuple[Rule, dict[str, Any]]:
    """The rule that decides the document's facts now, and the fields DECIDED as they would be written now.

    Raises KeyError, TypeError or ValueError for what is no document of ours, NewerFormat for one of a newer version.
    """
    facts = facts_from_json(upgraded(DOCUMENT, document)["diagnostics"]["inputs"])
    rule = decide(facts)
    fields = {
        "schema": SCHEMA,
        "operation_run_id": facts.run.operation_run_id,
        "state": rule.state,
        **describe(facts, rule),
    }
    return rule, fields


def is_decided_otherwise(document: dict[str, Any]) -> bool:
    """Whether a fresh document would differ from this one in more than its policy."""
    _, fields = decided_afresh(document)
    return any(document.get(name) != value for name, value in fields.items())
