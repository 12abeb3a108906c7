"""What `decide` reads: facts in a file, or a whole state document; strictly, and joined as the worker joins."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from contracts.decision import decode, encode
from contracts.facts import Facts, facts_from_json, facts_to_json
from contracts.violations import InvalidInput
from contracts.wire import read_inputs
from tests.contracts.facts_strategies import facts
from tests.contracts.records import state
from tests.contracts.test_documents import a_document


def inputs(**changes: Any) -> dict[str, Any]:
    """The examples of interfaces, section 3, as one file; a member given as `...` is left out."""
    whole = {
        "restore_run": state("restore_run"),
        "operation_run": state("operation_run"),
        "evidence_snapshots": [state("evidence_snapshot")],
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not ...}


def operation(**changes: Any) -> dict[str, Any]:
    return state("operation_run", **changes)


def snapshot(**changes: Any) -> dict[str, Any]:
    return state("evidence_snapshot", **changes)


@given(facts())
def test_what_a_document_says_it_was_decided_from_is_read_back(known: Facts) -> None:
    written = facts_to_json(known)
    assert read_inputs(written) == known
    assert read_inputs(decode(encode(a_document(known)))) == known
    assert facts_from_json(decode(encode(written))) == known


def test_only_the_fields_of_the_events_are_needed() -> None:
    known = read_inputs(inputs())
    assert (known.run.id, known.run.sequence, known.run.source) == ("rr-1", None, None)
    assert known.operation is not None
    assert not known.operation.deleted
    assert [(s.id, s.expired) for s in known.evidence] == [("es-1", False)]
    assert known.unreadable == ()


def test_a_run_alone_is_enough() -> None:
    assert read_inputs({"restore_run": state()}) == read_inputs(inputs(operation_run=None, evidence_snapshots=[]))


def test_what_is_only_ours_to_say_may_be_said() -> None:
    known = read_inputs(
        inputs(
            operation_run=operation(deleted=True, status=None, sequence=7),
            evidence_snapshots=[snapshot(expired=True)],
            unreadable=["restore_run/rr-1", "operation_run/op-1", "restore_run/rr-1"],
        )
    )
    assert known.operation is not None
    assert (known.operation.deleted, known.operation.status, known.operation.sequence) == (True, None, 7)
    assert known.evidence[0].expired
    assert known.unreadable == ("operation_run/op-1", "restore_run/rr-1")


class TestOnlyWhatTheWorkerWouldJoinIsJoined:
    @pytest.mark.parametrize("other", [{"tenant_id": "t-2"}, {"id": "op-2"}])
    def test_another_operation(self, other: dict[str, Any]) -> None:
        assert read_inputs(inputs(operation_run=operation(**other))).operation is None

    @pytest.mark.parametrize("other", [{"tenant_id": "t-2"}, {"operation_run_id": "op-2"}, {"operation_run_id": None}])
    def test_another_operations_or_tenants_snapshot(self, other: dict[str, Any]) -> None:
        assert read_inputs(inputs(evidence_snapshots=[snapshot(**other)])).evidence == ()

    def test_null_joins_nothing(self) -> None:
        known = read_inputs(
            inputs(restore_run=state(operation_run_id=None), evidence_snapshots=[snapshot(operation_run_id=None)])
        )
        assert (known.operation, known.evidence) == (None, ())


REFUSED = [
    ([], "$: expected an object, got an array"),
    ({}, "$.restore_run: expected an object, got nothing"),
    (inputs(restore_run=None), "$.restore_run: expected an object, got null"),
    (inputs(restore_run=state(is_dry_run=1)), "$.restore_run.is_dry_run: expected true or false, got 1"),
    (
        inputs(restore_run=state(sequence="5")),
        '$.restore_run.sequence: expected an integer from 0 to 9223372036854775807, or null, got "5"',
    ),
    (
        inputs(restore_run=state(source={"topic": "x", "partition": 0, "offset": -1, "timestamp": 0})),
        "$.restore_run.source.offset: expected an integer from 0 to 9007199254740991, got -1",
    ),
    (inputs(operation_run=[]), "$.operation_run: expected an object or null, got an array"),
    (
        inputs(operation_run=operation(status=None)),
        "$.operation_run.status: expected one of queued, running, completed, got null",
    ),
    (inputs(operation_run=operation(deleted=None)), "$.operation_run.deleted: expected true or false, got null"),
    (
        inputs(operation_run=operation(id="op-2", status="?")),
        '$.operation_run.status: expected one of queued, running, completed, or null for a deleted one, got "?"',
    ),
    (inputs(evidence_snapshots=None), "$.evidence_snapshots: expected an array, got null"),
    (inputs(evidence_snapshots={}), "$.evidence_snapshots: expected an array, got an object"),
    (inputs(evidence_snapshots=[snapshot(), 5]), "$.evidence_snapshots[1]: expected an object, got 5"),
    (
        inputs(evidence_snapshots=[snapshot(expired="no")]),
        '$.evidence_snapshots[0].expired: expected true or false, got "no"',
    ),
    (
        inputs(evidence_snapshots=[snapshot(), snapshot(status="failed")]),
        '$.evidence_snapshots[1].id: expected each snapshot once, got "es-1" again',
    ),
    (
        inputs(unreadable=["restore_run/rr-1", "run/rr-1"]),
        (
            "$.unreadable[1]: expected <entity>/<id>, where <entity> is one of restore_run, operation_run,"
            ' evidence_snapshot, got "run/rr-1"'
        ),
    ),
    (
        {"schema": "restore.decision-state/2", "diagnostics": {"inputs": inputs()}},
        '$.schema: expected "restore.decision-state/1", got "restore.decision-state/2"',
    ),
    ({"diagnostics": {"inputs": inputs()}}, '$.schema: expected "restore.decision-state/1", got nothing'),
    ({"schema": "restore.decision-state/1"}, "$.diagnostics: expected an object, got nothing"),
    (
        {"schema": "restore.decision-state/1", "diagnostics": {}},
        "$.diagnostics.inputs: expected an object, got nothing",
    ),
    (
        {"schema": "restore.decision-state/1", "diagnostics": {"inputs": inputs(evidence_snapshots=[{}])}},
        (
            "$.diagnostics.inputs.evidence_snapshots[0].id: expected an identifier"
            " (1 to 128 of A-Z a-z 0-9 . _ -, but not . or ..) or an integer from 0, got nothing"
        ),
    ),
]


@pytest.mark.parametrize(("value", "message"), REFUSED)
def test_anything_else_is_refused_with_its_path(value: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_inputs(value)
    assert str(refused.value) == message
    assert message == f"{refused.value.path}: expected {refused.value.expected}, got {refused.value.got}"
