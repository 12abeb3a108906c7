"""The output documents: the contract's example validates, and what validates is written as the same bytes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.decision import FORBIDDEN_CLAIMS, STATES, encode
from contracts.documents import (
    ActionCode,
    EvidenceCause,
    ForbiddenClaim,
    InconsistencyCode,
    RuleName,
    StateChange,
    StateDocument,
    change_headers,
)
from contracts.facts import Facts, facts_to_json
from projections.document import describe
from projections.evidence import CAUSES
from projections.inconsistencies import INCONSISTENCIES
from projections.matrix import CONTINUE_PREPARATION, WORDS
from projections.rules import RULES
from tests.contracts.facts_strategies import facts
from tests.contracts.records import TRACEPARENT
from tests.projections.given import PROVEN


def a_document(known: Facts = PROVEN, rule: int = 11, **changes: Any) -> dict[str, Any]:
    """The state document of interfaces, section 6, with what is decided taken from the real projection."""
    run = known.run
    return {
        "schema": "restore.decision-state/1",
        "tenant_id": run.tenant_id,
        "restore_run_id": run.id,
        "operation_run_id": run.operation_run_id,
        "revision": 9,
        "state": RULES[rule].state,
        "previous_state": "completed_proof_incomplete",
        **describe(known, RULES[rule]),
        "timeline": [{"revision": 1, "state": "not_executed", "changed_at": "2026-11-01T09:50:00.000Z"}],
        "policy": 1,
        "changed_at": "2026-11-01T10:01:00.000Z",
        "updated_at": "2026-11-01T10:01:00.000Z",
        **changes,
    }


def a_change(**changes: Any) -> dict[str, Any]:
    """The state change of interfaces, section 6."""
    return {
        "tenant_id": "t-1",
        "restore_run_id": "rr-1",
        "from_state": "completed_proof_incomplete",
        "to_state": "completed_with_evidence",
        "summary": "rr-1: Completed with evidence available (was: Completed, recovery proof incomplete)",
        "status": "Completed with evidence available",
        "reason": "Execution proof and post-run evidence are available.",
        "impact": "Review evidence before treating the restore as recovery proof.",
        "revision": 9,
        "severity": "info",
        "direction": "progress",
        "origin": "live",
        "cause": {"entity": "evidence_snapshot", "id": "es-1", "sequence": 3},
        "changed_at": "2026-11-01T10:01:00.000Z",
        **changes,
    }


class TestStateDocument:
    def test_the_example_of_the_interfaces(self) -> None:
        document = a_document()
        assert document["status"] == "Completed with evidence available"
        assert StateDocument.model_validate_json(encode(document)).model_dump_json().encode() == encode(document)

    @given(facts(), st.integers(0, len(RULES) - 1))
    def test_every_document_of_any_facts_is_the_models_byte_for_byte(self, known: Facts, rule: int) -> None:
        document = a_document(known, rule)
        model = StateDocument.model_validate(document)
        assert model.model_dump_json().encode() == encode(document)
        assert model == StateDocument.model_validate_json(encode(document))

    @pytest.mark.parametrize(
        "wrong",
        [
            {"schema": "restore.decision-state/2"},
            {"revision": 0},
            {"revision": "9"},
            {"revision": True},
            {"state": "healthy"},
            {"tenant_id": ".."},
            {"restore_run_id": "a/b"},
            {"changed_at": "2026-11-01T10:01:00Z"},
            {"changed_at": "2026-13-01T10:01:00.000Z"},
            {"primary_next_action": {"code": "open_evidence", "label": "Open evidence", "target": {}}},
            {"claims": {"allowed": [], "forbidden": []}},
            {"timeline": [{"revision": 1, "state": "failed", "changed_at": "2026-11-01T10:01:00.000Z"}] * 21},
            {"surprise": 1},
        ],
    )
    def test_anything_else_is_refused(self, wrong: dict[str, Any]) -> None:
        StateDocument.model_validate(a_document())
        with pytest.raises(ValidationError):
            StateDocument.model_validate(a_document(**wrong))

    def test_no_field_may_be_missing_at_any_depth(self) -> None:
        for path in _paths(a_document()):
            document = json.loads(encode(a_document()))
            holder = document
            for step in path[:-1]:
                holder = holder[step]
            del holder[path[-1]]
            with pytest.raises(ValidationError):
                StateDocument.model_validate(document)

    def test_it_is_frozen(self) -> None:
        document = StateDocument.model_validate(a_document())
        with pytest.raises(ValidationError):
            document.revision = 10  # type: ignore[misc]


def _paths(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all keys in objects."""
    found: list[tuple[Any, ...]] = []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found += [(*above, key)] if isinstance(value, dict) else []
        found += _paths(inner, (*above, key))
    return found


class TestCodes:
    """The contract's codes are those that the projection writes, neither more nor less."""

    def test_rules(self) -> None:
        assert RuleName.__args__ == tuple(rule.name for rule in RULES)  # type: ignore[attr-defined]

    def test_actions(self) -> None:
        codes = {words.action.code for words in WORDS.values()} | {CONTINUE_PREPARATION.code}
        assert set(ActionCode.__args__) == codes  # type: ignore[attr-defined]

    def test_inconsistencies(self) -> None:
        assert InconsistencyCode.__args__ == tuple(row.code for row in INCONSISTENCIES)  # type: ignore[attr-defined]

    def test_causes(self) -> None:
        assert EvidenceCause.__args__ == tuple(CAUSES)  # type: ignore[attr-defined]

    def test_forbidden_claims(self) -> None:
        assert ForbiddenClaim.__args__ == FORBIDDEN_CLAIMS  # type: ignore[attr-defined]


class TestStateChange:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"from_state": None, "direction": "initial"},
            {"to_state": None, "status": None, "reason": None, "impact": None, "direction": "removed"},
            {"cause": {"entity": "restore_run", "id": "rr-1", "sequence": None}, "origin": "deadline"},
        ],
    )
    def test_the_example_and_its_variants(self, changes: dict[str, Any]) -> None:
        change = a_change(**changes)
        model = StateChange.model_validate_json(encode(change))
        assert model.model_dump_json().encode() == encode(change)
        assert model == StateChange.model_validate(change)

    @pytest.mark.parametrize(
        "wrong", [{"severity": "bad"}, {"direction": None}, {"origin": "manual"}, {"revision": 1.0}, {"x": 1}]
    )
    def test_anything_else_is_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            StateChange.model_validate(a_change(**wrong))

    def test_its_headers(self) -> None:
        assert change_headers(a_change(), "eu", TRACEPARENT) == [
            ("ce_specversion", b"1.0"),
            ("ce_id", b"t-1/rr-1/9"),
            ("ce_type", b"restore.decision.changed"),
            ("ce_source", b"urn:restore-projector:eu"),
            ("ce_subject", b"t-1/rr-1"),
            ("ce_time", b"2026-11-01T10:01:00.000Z"),
            ("ce_tenant", b"t-1"),
            ("ce_fromstate", b"completed_proof_incomplete"),
            ("ce_tostate", b"completed_with_evidence"),
            ("ce_severity", b"info"),
            ("ce_direction", b"progress"),
            ("ce_origin", b"live"),
            ("content-type", b"application/json"),
            ("traceparent", TRACEPARENT.encode()),
        ]

    def test_headers_whose_value_is_null_are_absent(self) -> None:
        names = [name for name, _ in change_headers(a_change(from_state=None, to_state=None), "restore", None)]
        assert not {"ce_fromstate", "ce_tostate", "traceparent"} & set(names)
        assert len(names) == 11

    def test_attribute_names_are_what_cloudevents_allows(self) -> None:
        names = [name for name, _ in change_headers(a_change(), "restore", None) if name.startswith("ce_")]
        assert all(re.fullmatch("ce_[a-z0-9]{1,20}", name) for name in names)


def test_the_schemas_name_every_state() -> None:
    for model in (StateDocument, StateChange):
        text = json.dumps(model.model_json_schema())
        assert all(state in text for state in STATES)


def test_inputs_are_the_facts() -> None:
    assert a_document()["diagnostics"]["inputs"] == facts_to_json(PROVEN)
